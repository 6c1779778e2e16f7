"""An image in overlapping tiles, as views of it: small objects have more pixels there than in the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from statistics import median

from samtailor.data.augment import UNTOUCHED, View
from samtailor.errors import InputError
from samtailor.structures import Sample

OVERLAP = 0.3
"""Share of a tile's side that it has in common with the next one."""
MOST = 3
"""Tiles a side that are chosen at most: the cost grows with their square."""
_CELLS = 5.0  # side that the median object should have, in cells of the low-resolution logits


def views(tiles: int) -> tuple[View, ...]:
    """The whole image, and tiles a side as crops of it, each overlapping the next by `OVERLAP`.

    Raises:
        InputError: fewer than one tile.
    """
    if tiles < 1:
        raise InputError(f"tiles counts tiles a side and must be 1 or more, got {tiles}.")
    own = side(tiles)
    starts = [i * (1 - own) / max(tiles - 1, 1) for i in range(tiles)]
    crops = [(x, y, min(x + own, 1.0), min(y + own, 1.0)) for y, x in product(starts, starts)]
    return UNTOUCHED, *(View(tuple(round(v, 6) for v in crop)) for crop in crops if tiles > 1)


def side(tiles: int) -> float:
    """Side of a tile as a share of the image's."""
    return 1 / (tiles - (tiles - 1) * OVERLAP)


def fitting(samples: Sequence[Sample], classes: Sequence[str], low_res: int) -> int:
    """Tiles a side for objects of a size: so many that the median one is five cells of the mask logits wide, at most 3.

    Args:
        samples: training images.
        classes: names.
        low_res: side of the low-resolution logits, cells.
    """
    sides = [_side(a.box, sample.size) for sample in samples for a in sample.of(classes)]
    if not sides:
        return 1
    seen = median(sides) * low_res
    return next((count for count in range(1, MOST) if seen / side(count) >= _CELLS), MOST)


def _side(box: Sequence[float], size: tuple[int, int]) -> float:
    """Geometric mean of a box's sides as shares of the image's."""
    x0, y0, x1, y1 = box
    return ((x1 - x0) / size[1] * (y1 - y0) / size[0]) ** 0.5


__all__ = ["MOST", "OVERLAP", "fitting", "side", "views"]
