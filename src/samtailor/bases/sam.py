"""SAM 1 (Kirillov et al., arXiv 2304.02643) over transformers' SamModel: any hub id, SlimSAM, a local folder, or
Meta's original `sam_vit_{b,l,h}_*.pth`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from samtailor.bases import _meta, _vendor
from samtailor.bases._preprocessing import IMAGENET, Normalization, read_normalization
from samtailor.structures import Features, Output, Prompts, Tokens

SITES = {
    "decoder.qv": r"mask_decoder\.transformer\..*\.(q_proj|v_proj)",
    "decoder": r"mask_decoder\..*",
    **_vendor.TAIL,
    "encoder.qkv": r"vision_encoder\.layers\.\d+\.attn\.qkv",
    "encoder.attention": r"vision_encoder\.layers\.\d+\.attn",
    "encoder.mlp": r"vision_encoder\.layers\.\d+\.mlp",
}


def matches(source: str, model_type: str | None) -> bool:
    """Whether this base loads `source`; `model_type` is that of its config.json, None where it has none."""
    return model_type == "sam" or (model_type is None and source.endswith(".pth"))


def build(source: str) -> Sam:
    """Load a SAM 1.

    Args:
        source: hub id, folder made with `save_pretrained`, or path of Meta's `.pth`.

    Raises:
        BaseUnavailableError: there is no such model, or it cannot be read.
        InputError: its tensors do not fit its configuration.
    """
    if source.endswith(".pth"):
        return Sam(_meta.load(Path(source)), Path(source).stem)
    return load(source, source)


def load(source: str, name: str) -> Sam:
    """As `build` for a hub id or folder, under another name than its source."""
    from transformers import SamModel

    return Sam(_vendor.load_pretrained(SamModel, source), name, read_normalization(source))


class Sam(_vendor.TransformersBase):
    """A frozen SAM 1; see `bases.Base` for the attributes.

    Args:
        model: transformers' SamModel.
        name: see `Base.name`.
        normalization: of the images; None: that of SAM.
    """

    squash, sites = False, SITES
    skips = (0, 0)

    def __init__(self, model: nn.Module, name: str, normalization: Normalization | None = None) -> None:
        super().__init__()
        self.mean, self.std = normalization or IMAGENET
        config: Any = model.config
        vision, dim = config.vision_config, config.mask_decoder_config.hidden_size
        self._set_up(model, name, size=vision.image_size, dim=dim, patch=vision.patch_size)

    def encode_image(self, images: Tensor) -> Features:
        """Normalized images (B, 3, size, size) to the image embedding (B, D, H, W)."""
        _vendor.check_square(images, self.size)
        return Features(self.model.vision_encoder(images)[0])

    def encode_prompts(self, prompts: Prompts) -> Tokens:
        """Prompts of the model frame to tokens; a click gets SAM's padding token, a box does not."""
        _vendor.check_frame(prompts, self.size)
        sparse, dense = self.model.prompt_encoder(
            input_points=prompts.points,
            input_labels=prompts.labels,
            input_boxes=prompts.boxes,
            input_masks=prompts.masks,
        )
        if sparse is None:
            sparse = dense.new_zeros(*prompts.shape, 0, self.dim)
        return Tokens(sparse, dense)

    def decode(self, features: Features, tokens: Tokens, *, fast: bool = False) -> Output:
        """Masks and predicted IoU of all mask tokens; `fast` as in `Base.decode`."""
        return self._decoder.decode(features, tokens, self.positions(), self.grid, fast=fast)
