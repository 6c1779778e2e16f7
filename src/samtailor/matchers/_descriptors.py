"""Descriptors of the cells of an image: everything that the frozen networks know about a place, at several scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.bases import Base
from samtailor.bases.companions import Companion, resized
from samtailor.data.transform import Frame
from samtailor.structures import Features

_MAX_SIDE = 64


def side_of(base: Base) -> int:
    """Cells per side of the descriptors: twice the grid of the embedding, at most 64 unless the grid is finer."""
    return max(base.grid, min(2 * base.grid, _MAX_SIDE))


def describe(features: Features, companions: Sequence[Companion], side: int) -> Tensor:
    """Descriptors (side side, C) of one image.

    Each map is resized to the grid and normalized over the channels of each cell, so that all maps have equal weight.

    Args:
        features: one row: the embedding, the high-resolution maps and the maps of the companions are joined.
        companions: whose maps are used.
        side: cells per side.
    """
    maps = [one for companion in companions for one in features.of_companion(companion.fingerprint)]
    levels = []
    for level in (*maps, features.main, *features.skips):
        fitted = resized(level.float(), side)[0].flatten(1).T
        levels.append(F.layer_norm(fitted, fitted.shape[1:]) / fitted.shape[1] ** 0.5)
    return torch.cat(levels, dim=1)


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


__all__ = ["covered", "describe", "inside", "side_of"]
