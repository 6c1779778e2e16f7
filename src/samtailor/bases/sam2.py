"""SAM 2.1 on still images (Ravi et al., arXiv 2408.00714) over transformers' Sam2Model: any `facebook/sam2.1-hiera-*`
or a local folder, also with the convolutional backbone of the bundled base (`_efficientnet.py`). High-resolution
features enter the decoder, and images are squashed to the square."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from samtailor.bases import _efficientnet, _vendor
from samtailor.bases._preprocessing import IMAGENET, Normalization, read_normalization
from samtailor.structures import Features, Output, Prompts, Tokens

SITES = {
    "decoder.qv": r"mask_decoder\.transformer\..*\.(q_proj|v_proj)",
    "decoder": r"mask_decoder\..*",
    **_vendor.TAIL,
    "encoder.qkv": r"vision_encoder\.backbone\.blocks\.\d+\.attn\.qkv",
    "encoder.attention": r"vision_encoder\.backbone\.blocks\.\d+\.attn",
    "encoder.mlp": r"vision_encoder\.backbone\.blocks\.\d+\.mlp",
    **_efficientnet.SITES,
}
"""Of all backbones; a base has those that its backbone has."""


def matches(source: str, model_type: str | None) -> bool:
    """Whether this base loads `source`; `model_type` is that of its config.json, None where it has none."""
    return model_type in ("sam2", "sam2_video")


def build(source: str) -> Sam2:
    """Load a SAM 2 for still images.

    Args:
        source: hub id or folder made with `save_pretrained`.

    Raises:
        BaseUnavailableError: there is no such model, or it cannot be read.
        InputError: its tensors do not fit its configuration.
    """
    return load(source, source)


def load(source: str, name: str, *, bundled: bool = False) -> Sam2:
    """As `build`, under another name than its source; `bundled` as in `_vendor.load_pretrained`."""
    from transformers import Sam2Model

    _efficientnet.register()
    return Sam2(_vendor.load_pretrained(Sam2Model, source, bundled=bundled), name, read_normalization(source))


class Sam2(_vendor.TransformersBase):
    """A frozen SAM 2; see `bases.Base` for the attributes.

    Args:
        model: transformers' Sam2Model.
        name: see `Base.name`.
        normalization: of the images; None: that of SAM 2.
    """

    squash = True

    def __init__(self, model: nn.Module, name: str, normalization: Normalization | None = None) -> None:
        super().__init__()
        self.mean, self.std = normalization or IMAGENET
        self.sites = _vendor.sites_of(model, SITES)
        config: Any = model.config
        prompt, dim = config.prompt_encoder_config, config.mask_decoder_config.hidden_size
        self._set_up(model, name, size=prompt.image_size, dim=dim, patch=prompt.patch_size)
        decoder = self.model.mask_decoder
        self.skips = (decoder.conv_s1.out_channels, decoder.conv_s0.out_channels)

    def encode_image(self, images: Tensor) -> Features:
        """Normalized images (B, 3, size, size) to the embedding and two high-resolution maps, finest first."""
        _vendor.check_square(images, self.size)
        maps = self._maps(images)
        sides = (4 * self.grid, 2 * self.grid, self.grid)
        grids = [m.permute(1, 2, 0).reshape(len(images), -1, s, s) for m, s in zip(maps, sides, strict=True)]
        return Features(grids[-1], tuple(grids[:-1]))

    def _maps(self, images: Tensor) -> list[Any]:
        """Levels (h w, B, C), finest first."""
        maps: list[Any] = list(self.model.get_image_features(images, return_dict=True).fpn_hidden_states)
        maps[-1] = maps[-1] + self.model.no_memory_embedding
        return maps

    def encode_prompts(self, prompts: Prompts) -> Tokens:
        """Prompts of the model frame to tokens; clicks and boxes both get SAM 2's padding token."""
        _vendor.check_frame(prompts, self.size)
        points, labels = prompts.points, prompts.labels
        if prompts.empty:
            dense = self.model.prompt_encoder(None, None, None, None)[1]
            return Tokens(dense.new_zeros(*prompts.shape, 0, self.dim), dense)
        if prompts.masks is not None and points is None and prompts.boxes is None:
            points = torch.zeros(*prompts.shape, 1, 2, device=prompts.masks.device)  # an empty point, as upstream
            labels = -torch.ones(*prompts.shape, 1, dtype=torch.int64, device=points.device)
        sparse, dense = self.model.prompt_encoder(
            input_points=points, input_labels=labels, input_boxes=prompts.boxes, input_masks=prompts.masks
        )
        return Tokens(sparse, dense)

    def decode(self, features: Features, tokens: Tokens, *, fast: bool = False) -> Output:
        """Masks and predicted IoU of all mask tokens; `fast` as in `Base.decode`."""
        skips = {"high_resolution_features": list(features.skips)}
        return self._decoder.decode(features, tokens, self.positions(), self.grid, fast=fast, **skips)
