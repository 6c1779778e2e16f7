"""Backbone of the small networks on the frozen embedding (the region map, the proposal heads): a trunk at the grid of
the embedding, then upsampling steps that add the base's high-resolution features."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.structures import Features


class Pyramid(nn.Module):
    """Image embedding to channels at a finer grid.

    Args:
        dim: channels of the embedding.
        skips: channels of the base's high-resolution features at each upsampling by 2; 0 where there are none.
        width: channels of the trunk; each upsampling halves them, to 32 at the least. `channels` is the last number.
        dropout: fraction of the trunk's channels that are dropped in training.
    """

    def __init__(self, dim: int, skips: Sequence[int], width: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(dim, width, 1), _norm(width), nn.GELU())
        self.trunk = nn.Sequential(_block(width), nn.Dropout2d(dropout), _block(width))
        self.narrow, self.lateral, self.rise = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for channels in skips:
            self.narrow.append(nn.Conv2d(width, max(width // 2, 32), 1))
            width = max(width // 2, 32)
            self.lateral.append(nn.Conv2d(channels, width, 1) if channels else nn.Identity())
            # depthwise: at the finest grid a full convolution would cost more than all the rest
            depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
            self.rise.append(nn.Sequential(depthwise, _norm(width), nn.GELU(), nn.Conv2d(width, width, 1)))
        self.channels = width

    def climb(self, features: Features) -> Tensor:
        """(B, channels, s, s); s is the side of the embedding, doubled for each entry of `skips`."""
        x = self.enter(features.main)
        x = x + self.trunk(x)
        for narrow, lateral, rise in zip(self.narrow, self.lateral, self.rise, strict=True):
            x = F.interpolate(narrow(x), scale_factor=2, mode="bilinear", align_corners=False)
            if not isinstance(lateral, nn.Identity):
                x = x + lateral(_skip_of(features, x.shape[-1]))
            x = x + rise(x)
        return x


def _skip_of(features: Features, side: int) -> Tensor:
    """The high-resolution features whose grid has this side."""
    return next(skip for skip in features.skips if skip.shape[-1] == side)


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(channels, 8), channels)


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), _norm(width), nn.GELU())


__all__ = ["Pyramid"]
