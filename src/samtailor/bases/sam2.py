"""SAM 2.1 on still images (Ravi et al., arXiv 2408.00714) over transformers' Sam2Model: any `facebook/sam2.1-hiera-*`
or a local folder. High-resolution features enter the decoder, and images are squashed to the square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from samtailor.bases import _vendor
from samtailor.structures import Features, Output, Prompts, Tokens

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
SITES = {
    "decoder.qv": r"mask_decoder\.transformer\..*\.(q_proj|v_proj)",
    "decoder": r"mask_decoder\..*",
    **_vendor.TAIL,
    "encoder.qkv": r"vision_encoder\.backbone\.blocks\.\d+\.attn\.qkv",
    "encoder.attention": r"vision_encoder\.backbone\.blocks\.\d+\.attn",
    "encoder.mlp": r"vision_encoder\.backbone\.blocks\.\d+\.mlp",
}


def matches(source: str, model_type: str | None) -> bool:
    """Whether this file loads what `source` names (`model_type` is config.json's, where there is one)."""
    return model_type in ("sam2", "sam2_video")


def build(source: str) -> Sam2:
    """Load a SAM 2 for still images.

    Args:
        source: hub id or folder made with `save_pretrained`.
    """
    from transformers import Sam2Model

    return Sam2(_vendor.load_pretrained(Sam2Model, source), source)


class Sam2(nn.Module):
    """A frozen SAM 2; see `bases._protocol.Base` for the attributes."""

    mean, std, squash, sites = MEAN, STD, True, SITES

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model = _vendor.freeze(model)
        self.name = name
        prompt = model.config.prompt_encoder_config
        self.size = prompt.image_size
        self.dim = model.config.mask_decoder_config.hidden_size
        self.grid = prompt.image_size // prompt.patch_size
        self.low_res = 4 * self.grid
        decoder = model.mask_decoder
        self.skips = (decoder.conv_s1.out_channels, decoder.conv_s0.out_channels)
        self.fingerprint = _vendor.fingerprint(model, mean=MEAN, std=STD, size=self.size, squash=True)
        self._positions = _vendor.Positions()
        self._tap = _vendor.DecoderTap(model.mask_decoder)

    def encode_image(self, images: Tensor) -> Features:
        """Normalised images (B, 3, size, size) to the embedding and two high-resolution maps, finest first."""
        _vendor.check_square(images, self.size)
        maps: list[Any] = list(self.model.get_image_features(images, return_dict=True).fpn_hidden_states)
        maps[-1] = maps[-1] + self.model.no_memory_embedding
        sides = (4 * self.grid, 2 * self.grid, self.grid)
        grids = [m.permute(1, 2, 0).reshape(len(images), -1, s, s) for m, s in zip(maps, sides, strict=True)]
        return Features(grids[-1], tuple(grids[:-1]))

    def encode_prompts(self, prompts: Prompts) -> Tokens:
        """Prompts of the model frame to tokens; clicks and boxes both get SAM 2's padding token."""
        _vendor.check_frame(prompts, self.size)
        points, labels = prompts.points, prompts.labels
        if prompts.empty:
            dense = self.model.prompt_encoder(None, None, None, None)[1]
            return Tokens(dense.new_zeros(*prompts.shape, 0, self.dim), dense)
        if points is None and prompts.boxes is None:  # SAM 2 answers a mask prompt with one empty point, as upstream
            points = torch.zeros(*prompts.shape, 1, 2, device=prompts.masks.device)
            labels = -torch.ones(*prompts.shape, 1, dtype=torch.int64, device=points.device)
        sparse, dense = self.model.prompt_encoder(
            input_points=points, input_labels=labels, input_boxes=prompts.boxes, input_masks=prompts.masks
        )
        return Tokens(sparse, dense)

    def positions(self) -> Tensor:
        """(1, D, H, W) Fourier encoding of the grid."""
        return self._positions(self.model)

    def decode(self, features: Features, tokens: Tokens) -> Output:
        """Masks and predicted IoU of all mask tokens."""
        skips = list(features.skips)
        return self._tap.decode(features, tokens, self.positions(), self.grid, high_resolution_features=skips)

    def with_modules(self, modules: Mapping[str, nn.Module]) -> Sam2:
        """A twin that shares every frozen tensor, with modules of `model` exchanged by name."""
        return _vendor.twin(self, modules)

    def train(self, mode: bool = True) -> Sam2:
        """The base stays in evaluation mode whatever the segmenter around it does."""
        return super().train(False)
