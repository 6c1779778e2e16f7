"""Descriptors of the cells of an image: everything that the frozen networks know about a place, at several scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.bases.companions import resized
from samtailor.data.transform import Frame
from samtailor.structures import Features

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.bases.companions import Companion

_MAX_SIDE = 64


def channels_of(base: Base, companion: Companion | None) -> int:
    """C: channels of the descriptors."""
    beside = () if companion is None else companion.channels
    return sum((*beside, base.dim, *base.skips))


def side_of(base: Base) -> int:
    """Cells per side of the descriptors: twice the grid of the embedding, at most 64 unless the grid is finer."""
    return max(base.grid, min(2 * base.grid, _MAX_SIDE))


def maps_of(features: Features, companions: Sequence[str]) -> list[Tensor]:
    """All maps of B images that descriptors are made of, each (B, C', s, s).

    Args:
        features: the maps of the companions, the embedding and the high-resolution maps.
        companions: fingerprints of those whose maps are used.
    """
    maps = [one for companion in companions for one in features.of_companion(companion)]
    return [one.float() for one in (*maps, features.main, *features.skips)]


def normalized(x: Tensor) -> Tensor:
    """A map (B, C', s, s) normalized over the channels of each cell; all maps have equal weight, however wide."""
    channels = int(x.shape[1])  # in tracing it is a tensor, and must become a constant
    return (F.layer_norm(x.permute(0, 2, 3, 1), (channels,)) / channels**0.5).permute(0, 3, 1, 2)


def describe(features: Features, companions: Sequence[str], side: int) -> Tensor:
    """Descriptors (B, side side, C) of B images: each map is resized to the grid, then normalized.

    Args:
        features, companions: see `maps_of`.
        side: cells per side.
    """
    return _joined([normalized(resized(one, side)) for one in maps_of(features, companions)])


def describe_linear(features: Features, companions: Sequence[str], side: int) -> Tensor:
    """The same with the maps normalized, then resized, so that a linear function of them can be resized instead."""
    return _joined([resized(normalized(one), side) for one in maps_of(features, companions)])


def _joined(maps: Sequence[Tensor]) -> Tensor:
    return torch.cat([one.flatten(2) for one in maps], dim=1).transpose(1, 2)


def covered(frame: Frame, mask: Tensor, side: int) -> Tensor:
    """Share of each cell that a mask covers, (side side,) in [0, 1].

    Args:
        frame: of the image.
        mask: float (low_res, low_res), see `Frame.target`.
        side: cells per side.
    """
    return F.interpolate(mask[None, None], (side, side), mode="area").flatten()


def inside(frame: Frame, side: int) -> Tensor:
    """Which cells lie in the image rather than in the padding, bool (side side,)."""
    return F.interpolate(frame.valid().float()[None, None], (side, side), mode="area").flatten() > 0


__all__ = [
    "channels_of", "covered", "describe", "describe_linear", "inside", "maps_of", "normalized", "side_of",
]  # fmt: skip
