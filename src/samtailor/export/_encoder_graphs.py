"""Encoder of a segmenter as a module of tensors only; see `_graphs` for the interfaces.

A companion whose network is the backbone of the encoder gets its maps from the encoder: the network is in the file
once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.bases._preprocessing import IMAGENET
from samtailor.bases.companions import companion_maps, maps_of_backbone
from samtailor.segmenter import Segmenter
from samtailor.structures import Features

Axes = dict[str, dict[int, str]]
"""Input or output to its dynamic axes by index."""


class Sam1Encoder(nn.Module):
    """Normalize, pad and encode an image whose longest side is at most `size`.

    Args:
        segmenter: its model encodes (the encoder of the base, or the adapted one).
    """

    inputs, outputs = ("input_image",), ("image_embeddings",)
    dynamic: ClassVar[Axes] = {"input_image": {0: "image_height", 1: "image_width"}}
    mean: Tensor
    std: Tensor

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter, self.model = segmenter, segmenter.model
        self.register_buffer("mean", torch.tensor(self.model.mean))
        self.register_buffer("std", torch.tensor(self.model.std))

    def forward(self, input_image: Tensor) -> Tensor:
        """(height, width, 3) RGB in 0..255, float32, to (1, D, H, W)."""
        image = ((input_image - self.mean) / self.std).permute(2, 0, 1).unsqueeze(0)
        size = self.model.size
        padded = F.pad(image, (0, size - image.shape[3], 0, size - image.shape[2]))
        return encoded(self.segmenter, padded.reshape(1, 3, size, size)).main

    def example(self) -> tuple[Tensor, ...]:
        """Inputs for tracing."""
        return (torch.full((self.model.size * 2 // 3, self.model.size, 3), 100.0),)


SAM2_INPUT = IMAGENET
"""Normalization of images for every SAM 2 encoder file: annotators apply it without asking the model."""


class Sam2Encoder(nn.Module):
    """Encode a square image to the embedding and the two high-resolution maps, finest first.

    The input is normalized as SAM 2's; for a base with another normalization it is converted inside.
    """

    scale: Tensor
    shift: Tensor
    inputs, outputs = ("image",), ("high_res_feats_0", "high_res_feats_1", "image_embed")
    dynamic: ClassVar[Axes] = {}

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter, self.model = segmenter, segmenter.model
        mean, std, given_mean, given_std = map(torch.tensor, (self.model.mean, self.model.std, *SAM2_INPUT))
        self.converts = (tuple(self.model.mean), tuple(self.model.std)) != tuple(SAM2_INPUT)
        self.register_buffer("scale", (given_std / std)[:, None, None])
        self.register_buffer("shift", ((given_mean - mean) / std)[:, None, None])

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(1, 3, size, size) to (1, c0, 4H, 4W), (1, c1, 2H, 2W), (1, D, H, W)."""
        if self.converts:
            image = image * self.scale + self.shift
        features = encoded(self.segmenter, image)
        return (*features.skips, features.main)

    def example(self) -> tuple[Tensor, ...]:
        """Inputs for tracing."""
        return (torch.zeros(1, 3, self.model.size, self.model.size),)


def map_channels(segmenter: Segmenter) -> int:
    """Channels of the region map behind those of the embedding; 0 without a companion."""
    return 0 if segmenter.companion is None else (segmenter.base.low_res // segmenter.base.grid) ** 2


def encoded(segmenter: Segmenter, image: Tensor) -> Features:
    """Encode a normalized square image; with a companion, the region map is behind the embedding."""
    companion = segmenter.companion
    if companion is None:
        return segmenter.model.encode_image(image)
    features, maps = maps_of_backbone(companion, segmenter.model, image)
    if maps is None:
        maps = companion_maps(companion, segmenter.base, image)
    features = replace(features, companions={companion.fingerprint: maps})
    region_map: Any = next(iter(segmenter.maps.values()))
    logits = F.pixel_unshuffle(region_map.logits(features), segmenter.base.low_res // segmenter.base.grid)
    return Features(torch.cat([features.main, logits], dim=1), features.skips)


def parted(segmenter: Segmenter, features: Features) -> tuple[Features, Tensor | None]:
    """The features of the base, and the region map (1, 1, h, w) if it is behind the embedding."""
    if segmenter.companion is None:
        return features, None
    dim = segmenter.base.dim
    logits = F.pixel_shuffle(features.main[:, dim:], segmenter.base.low_res // segmenter.base.grid)
    return replace(features, main=features.main[:, :dim]), logits


__all__ = ["SAM2_INPUT", "Axes", "Sam1Encoder", "Sam2Encoder", "encoded", "map_channels", "parted"]
