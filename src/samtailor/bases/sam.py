"""SAM 1 (Kirillov et al., arXiv 2304.02643) over transformers' SamModel: any hub id, SlimSAM, a local folder, or
Meta's original `sam_vit_{b,l,h}_*.pth`."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.bases import _meta, _vendor
from samtailor.bases._preprocessing import IMAGENET, Normalization, read_normalization
from samtailor.errors import InputError
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


def build(source: str, *, size: int | None = None) -> Sam:
    """Load a SAM 1.

    Args:
        source: hub id, folder made with `save_pretrained`, or path of Meta's `.pth`.
        size: side of the model frame, pixels; None: that of the model. See `resized`.

    Raises:
        BaseUnavailableError: there is no such model, or it cannot be read.
        InputError: its tensors do not fit its configuration, or the size is not a multiple of its patches.
    """
    if source.endswith(".pth"):
        return _sized(_meta.load(Path(source)), Path(source).stem, None, size)
    return load(source, source, size=size)


def load(source: str, name: str, *, size: int | None = None) -> Sam:
    """As `build` for a hub id or folder, under another name than its source."""
    from transformers import SamModel

    return _sized(_vendor.load_pretrained(SamModel, source), name, read_normalization(source), size)


def _sized(model: Any, name: str, normalization: Any, size: int | None) -> Sam:
    if size is None:
        return Sam(model, name, normalization)
    return Sam(resized(model, size), f"{name}@{size}", normalization)


def resized(model: Any, size: int) -> nn.Module:
    """A SamModel for another image size, as BLO-SAM's code makes it (Zhang et al., arXiv 2402.16338).

    The absolute positions of the image encoder are resampled bilinearly and the relative ones of the blocks with global
    attention linearly; windows, prompt encoder and mask decoder keep their weights.

    Args:
        model: transformers' SamModel.
        size: side of the model frame, pixels; a multiple of the patch size.

    Raises:
        InputError: it is not such a multiple.
    """
    from transformers import SamModel

    patch = model.config.vision_config.patch_size
    if size < patch or size % patch:
        raise InputError(f"The image size must be a multiple of {patch} px, got {size}.")
    config = deepcopy(model.config)
    config.vision_config.image_size = config.prompt_encoder_config.image_size = size
    config.prompt_encoder_config.image_embedding_size = size // patch
    made, weights = SamModel(config), dict(model.state_dict())
    for name, wanted in made.state_dict().items():
        if weights[name].shape != wanted.shape:
            weights[name] = _resampled(weights[name], wanted.shape)
    made.load_state_dict(weights)
    return made.eval()


def _resampled(positions: Tensor, shape: Sequence[int]) -> Tensor:
    """Absolute (1, H, W, C) or relative (L, C) positions at another number of places."""
    if positions.ndim == 4:
        channels_first = positions.permute(0, 3, 1, 2)
        scaled = F.interpolate(channels_first, tuple(shape[1:3]), mode="bilinear", align_corners=False)
        return scaled.permute(0, 2, 3, 1)
    return F.interpolate(positions.T[None], int(shape[0]), mode="linear", align_corners=False)[0].T


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
