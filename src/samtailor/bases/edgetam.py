"""EdgeTAM (Zhou et al., arXiv 2501.07256) on still images over transformers' EdgeTamModel: a hub id or a local folder.

The interface is that of SAM 2. The backbone is a network of the library timm (RepViT in the published weights), which
is not part of samtailor: `pip install timm`. Methods that adapt the image encoder (SAMed, Med-SA) have no place in it.
"""

from __future__ import annotations

from samtailor.bases import _vendor
from samtailor.bases._preprocessing import read_normalization
from samtailor.bases.sam2 import Sam2
from samtailor.errors import BaseUnavailableError


def matches(source: str, model_type: str | None) -> bool:
    """Whether this base loads `source`; `model_type` is that of its config.json, None where it has none."""
    return model_type in ("edgetam", "edgetam_video")


def build(source: str) -> EdgeTam:
    """Load an EdgeTAM for still images.

    Args:
        source: hub id or folder made with `save_pretrained`.

    Raises:
        BaseUnavailableError: there is no such model, it cannot be read, or timm is not installed.
        InputError: its tensors do not fit its configuration.
    """
    from transformers import EdgeTamModel

    try:
        model = _vendor.load_pretrained(EdgeTamModel, source)
    except ImportError as error:
        raise BaseUnavailableError(
            f"The backbone of {source!r} is a network of timm, which is not installed: pip install timm."
        ) from error
    return EdgeTam(model, source, read_normalization(source))


class EdgeTam(Sam2):
    """A frozen EdgeTAM; arguments and attributes as in `Sam2`."""
