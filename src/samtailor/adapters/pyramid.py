"""Backbone of the small networks on the frozen embedding (the region map, the proposal heads): a trunk at the grid of
the embedding, then upsampling steps that add the base's high-resolution features.

With a companion (`bases.companions`), each of its maps is projected and added too: at the finest level that is not
finer than the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.bases.companions import resized
from samtailor.registry import choose
from samtailor.structures import Features

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.bases.companions import Companion

FULL, DEPTHWISE = CONVOLUTIONS = ("full", "depthwise")
"""Variants of the trunk: 3x3 convolutions of all channels, or depthwise ones, each followed by a 1x1 convolution."""


@dataclass(frozen=True)
class CompanionMaps:
    """Which maps of a companion a network reads.

    Args:
        fingerprint: of the companion.
        channels: of each map.
        sides: of each map, cells.
        grid: side of the embedding, cells.
    """

    fingerprint: str
    channels: tuple[int, ...]
    sides: tuple[int, ...]
    grid: int

    @classmethod
    def of(cls, companion: Companion | None, base: Base) -> CompanionMaps | None:
        """All maps of a companion, beside the embedding of a base; None without one."""
        if companion is None:
            return None
        return cls(companion.fingerprint, companion.channels, companion.sides, base.grid)

    def levels(self, finest: int) -> list[int]:
        """For each map the finest level whose grid is not finer than the map.

        Level 0 is the grid of the embedding; each further one, up to `finest`, doubles it.
        """
        return [max((n for n in range(finest + 1) if self.grid * 2**n <= side), default=0) for side in self.sides]


class Pointwise(nn.Conv2d):
    """1x1 convolution. On a CPU it is one matrix product, which is cheaper than torch's convolution of this size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    @property
    def matrix(self) -> Tensor:
        """Weight (outputs, inputs)."""
        return self.weight[:, :, 0, 0]

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h, w); on a CPU, the memory of the result is channels last."""
        return _pointwise(x, self.matrix, self.bias)


class Pyramid(nn.Module):
    """Image embedding to channels at a finer grid.

    Args:
        dim: channels of the embedding.
        skips: channels of the base's high-resolution features at each upsampling by 2; 0 where there are none.
        width: channels of the trunk; each upsampling halves them, to 32 at the least. `channels` is the last number.
        dropout: fraction of the trunk's channels that are dropped in training.
        companion: maps that are read beside the embedding.
        convolutions: one of `CONVOLUTIONS`. With "depthwise" the channels may fall to 16, and the finest grid has no
            norm.

    Raises:
        InputError: unknown `convolutions`.
    """

    def __init__(
        self,
        dim: int,
        skips: Sequence[int],
        width: int,
        dropout: float,
        companion: CompanionMaps | None = None,
        convolutions: str = FULL,
    ) -> None:
        super().__init__()
        light = choose("convolutions", convolutions, CONVOLUTIONS) == DEPTHWISE
        widths = [width]
        for _ in skips:
            widths.append(max(widths[-1] // 2, 16 if light else 32))
        self.companion, self._levels = companion, list[int]()
        if companion is not None:
            self._levels = companion.levels(len(skips))
            pairs = zip(companion.channels, self._levels, strict=True)
            self.beside = nn.ModuleList(Pointwise(channels, widths[level]) for channels, level in pairs)
        self.enter = nn.Sequential(Pointwise(dim, width), _norm(width), nn.GELU())
        self.trunk = nn.Sequential(_block(width, light), nn.Dropout2d(dropout), _block(width, light))
        self.narrow, self.lateral, self.rise = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, (channels, wide, width) in enumerate(zip(skips, widths[:-1], widths[1:], strict=True), 1):
            self.narrow.append(Pointwise(wide, width))
            self.lateral.append(Pointwise(channels, width) if channels else nn.Identity())
            # depthwise: at the finest grid a full convolution would cost more than all the rest
            depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
            norm = nn.Identity() if light and level == len(skips) else _norm(width)
            self.rise.append(nn.Sequential(depthwise, norm, nn.GELU(), Pointwise(width, width)))
        self.channels = widths[-1]

    def climb(self, features: Features) -> Tensor:
        """(B, channels, s, s); s is the side of the embedding, doubled for each entry of `skips`."""
        x, last = self._climb(features)
        return x if last is None else x + last(x)

    def climb_to(self, features: Features, head: Pointwise) -> Tensor:
        """`head(climb(features))`, (B, outputs, s, s), with fewer multiplications at the finest grid.

        The last layer of the finest level and the head are both linear, so that they are one 1x1 convolution to the
        few outputs of the head.
        """
        x, last = self._climb(features)
        if last is None:
            return head(x)
        inner, joined = last[:-1](x), cast(Pointwise, last[-1])
        bias = None if joined.bias is None else F.linear(joined.bias, head.matrix, head.bias)
        return _pointwise(x, head.matrix, None) + _pointwise(inner, head.matrix @ joined.matrix, bias)

    def _climb(self, features: Features) -> tuple[Tensor, nn.Sequential | None]:
        """The finest level before its residual branch, and that branch; None without upsampling."""
        features = channels_last(features)
        x = self.enter[1:](self._read(self.enter[0](features.main), features, 0))
        x = x + self.trunk(x)
        last: nn.Sequential | None = None
        for level, (narrow, lateral, rise) in enumerate(zip(self.narrow, self.lateral, self.rise, strict=True), 1):
            x = x if last is None else x + last(x)
            x = F.interpolate(narrow(x), scale_factor=2, mode="bilinear", align_corners=False)
            x = self._read(x, features, level)
            if not isinstance(lateral, nn.Identity):
                x = x + lateral(_skip_of(features, x.shape[-1]))
            last = cast(nn.Sequential, rise)
        return x, last

    def _read(self, x: Tensor, features: Features, level: int) -> Tensor:
        """Add the companion's maps of a level."""
        if self.companion is None:
            return x
        maps = features.of_companion(self.companion.fingerprint)
        for index, project in enumerate(self.beside):
            if self._levels[index] == level:
                x = x + resized(project(maps[index]), x.shape[-1])
        return x


def channels_last(features: Features) -> Features:
    """On a CPU the features in the memory format that is faster there; elsewhere unchanged."""
    if features.main.device.type != "cpu" or torch.jit.is_tracing():
        return features
    return features.apply(lambda one: one.contiguous(memory_format=torch.channels_last))


def _pointwise(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    if x.device.type != "cpu" or torch.jit.is_tracing():
        return F.conv2d(x, matrix[:, :, None, None], bias)
    return F.linear(x.permute(0, 2, 3, 1), matrix, bias).permute(0, 3, 1, 2)


def _skip_of(features: Features, side: int) -> Tensor:
    """The high-resolution features whose grid has this side."""
    return next(skip for skip in features.skips if skip.shape[-1] == side)


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(channels, 8), channels)


def _block(width: int, light: bool) -> nn.Sequential:
    if light:
        depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        return nn.Sequential(depthwise, Pointwise(width, width), _norm(width), nn.GELU())
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), _norm(width), nn.GELU())


__all__ = ["CONVOLUTIONS", "DEPTHWISE", "FULL", "CompanionMaps", "Pointwise", "Pyramid", "channels_last"]
