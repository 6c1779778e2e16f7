"""The promptable part of SAM 3 (the tracker) on still images over transformers' Sam3TrackerModel.

Clicks, boxes and masks as in SAM 2; text prompts and the detector of SAM 3 are not used. A published checkpoint holds
both parts (`facebook/sam3`, with access on request); the detector's tensors are left out when it is read.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from samtailor.bases import _vendor
from samtailor.bases._preprocessing import Normalization, Three, read_normalization
from samtailor.bases.sam2 import Sam2

SITES = {
    "encoder.qv": r"vision_encoder\.backbone\.layers\.\d+\.attention\.(q_proj|v_proj)",
    "encoder.attention": r"vision_encoder\.backbone\.layers\.\d+\.attention",
    "encoder.mlp": r"vision_encoder\.backbone\.layers\.\d+\.mlp",
}
_HALF: Three = (127.5, 127.5, 127.5)
_LEVELS = 3  # the neck has a coarser fourth one, which the mask decoder does not read


def matches(source: str, model_type: str | None) -> bool:
    """Whether this base loads `source`; `model_type` is that of its config.json, None where it has none."""
    return model_type in ("sam3_tracker", "sam3_tracker_video", "sam3_video")


def build(source: str) -> Sam3Tracker:
    """Load the tracker of a SAM 3 for still images.

    Args:
        source: hub id or folder made with `save_pretrained`.

    Raises:
        BaseUnavailableError: there is no such model, or it cannot be read.
        InputError: its tensors do not fit its configuration.
    """
    from transformers import Sam3TrackerModel

    return Sam3Tracker(_vendor.load_pretrained(Sam3TrackerModel, source), source, read_normalization(source))


class Sam3Tracker(Sam2):
    """A frozen SAM 3 tracker; see `bases.Base` for the attributes.

    Args:
        model: transformers' Sam3TrackerModel.
        name: see `Base.name`.
        normalization: of the images; None: that of SAM 3.
    """

    def __init__(self, model: nn.Module, name: str, normalization: Normalization | None = None) -> None:
        super().__init__(model, name, normalization or Normalization(_HALF, _HALF))
        self.sites = {**self.sites, **_vendor.sites_of(model, SITES)}

    def _maps(self, images: Tensor) -> list[Any]:
        # as transformers' forward: the token "no memory" belongs to the last level of the neck, also to a fourth one
        return super()._maps(images)[:_LEVELS]
