"""Backbone of the small networks on the frozen embedding (the region map, the proposal heads): a trunk at the grid of
the embedding, then upsampling steps that add the base's high-resolution features.

With a companion (`bases.companions`), each of its maps is projected and added too: at the finest level that is not
finer than the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.bases.companions import resized
from samtailor.structures import Features

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.bases.companions import Companion


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


class Pyramid(nn.Module):
    """Image embedding to channels at a finer grid.

    Args:
        dim: channels of the embedding.
        skips: channels of the base's high-resolution features at each upsampling by 2; 0 where there are none.
        width: channels of the trunk; each upsampling halves them, to 32 at the least. `channels` is the last number.
        dropout: fraction of the trunk's channels that are dropped in training.
        companion: maps that are read beside the embedding.
    """

    def __init__(
        self,
        dim: int,
        skips: Sequence[int],
        width: int,
        dropout: float,
        companion: CompanionMaps | None = None,
    ) -> None:
        super().__init__()
        widths = [width]
        for _ in skips:
            widths.append(max(widths[-1] // 2, 32))
        self.companion, self._levels = companion, list[int]()
        if companion is not None:
            self._levels = companion.levels(len(skips))
            pairs = zip(companion.channels, self._levels, strict=True)
            self.beside = nn.ModuleList(nn.Conv2d(channels, widths[level], 1) for channels, level in pairs)
        self.enter = nn.Sequential(nn.Conv2d(dim, width, 1), _norm(width), nn.GELU())
        self.trunk = nn.Sequential(_block(width), nn.Dropout2d(dropout), _block(width))
        self.narrow, self.lateral, self.rise = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for channels, wide, width in zip(skips, widths[:-1], widths[1:], strict=True):
            self.narrow.append(nn.Conv2d(wide, width, 1))
            self.lateral.append(nn.Conv2d(channels, width, 1) if channels else nn.Identity())
            # depthwise: at the finest grid a full convolution would cost more than all the rest
            depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
            self.rise.append(nn.Sequential(depthwise, _norm(width), nn.GELU(), nn.Conv2d(width, width, 1)))
        self.channels = widths[-1]

    def climb(self, features: Features) -> Tensor:
        """(B, channels, s, s); s is the side of the embedding, doubled for each entry of `skips`."""
        x = self.enter[1:](self._read(self.enter[0](features.main), features, 0))
        x = x + self.trunk(x)
        for level, (narrow, lateral, rise) in enumerate(zip(self.narrow, self.lateral, self.rise, strict=True), 1):
            x = F.interpolate(narrow(x), scale_factor=2, mode="bilinear", align_corners=False)
            x = self._read(x, features, level)
            if not isinstance(lateral, nn.Identity):
                x = x + lateral(_skip_of(features, x.shape[-1]))
            x = x + rise(x)
        return x

    def _read(self, x: Tensor, features: Features, level: int) -> Tensor:
        """Add the companion's maps of a level."""
        if self.companion is None:
            return x
        maps = features.of_companion(self.companion.fingerprint)
        for index, project in enumerate(self.beside):
            if self._levels[index] == level:
                x = x + resized(project(maps[index]), x.shape[-1])
        return x


def _skip_of(features: Features, side: int) -> Tensor:
    """The high-resolution features whose grid has this side."""
    return next(skip for skip in features.skips if skip.shape[-1] == side)


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(channels, 8), channels)


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), _norm(width), nn.GELU())


__all__ = ["CompanionMaps", "Pyramid"]
