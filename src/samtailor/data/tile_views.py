"""Views of an image as overlapping tiles, in which small objects have more pixels of the model frame."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from statistics import median

from samtailor.data.augment import UNTOUCHED, View
from samtailor.errors import InputError
from samtailor.structures import Sample

OVERLAP = 0.3
"""Overlap of neighboring tiles as a share of their side."""
MOST = 3
"""Largest number of tiles per side that `fitting` chooses. The cost grows with its square."""
_CELLS = 7.0  # target side of the median object, in cells of the low-resolution logits


def views(tiles: int) -> tuple[View, ...]:
    """The whole image and, for more than one tile per side, its tiles as crops that overlap by `OVERLAP`.

    Raises:
        InputError: fewer than one tile per side.
    """
    if tiles < 1:
        raise InputError(f"tiles is the number of tiles per side and must be at least 1, got {tiles}.")
    if tiles == 1:
        return (UNTOUCHED,)
    length = side(tiles)
    starts = [i * (1 - length) / (tiles - 1) for i in range(tiles)]
    ends = [min(start + length, 1.0) for start in starts]
    spans = [(round(start, 6), round(end, 6)) for start, end in zip(starts, ends, strict=True)]
    return UNTOUCHED, *(View((x0, y0, x1, y1)) for (y0, y1), (x0, x1) in product(spans, spans))


def side(tiles: int) -> float:
    """Side of a tile as a share of the side of the image."""
    return 1 / (tiles - (tiles - 1) * OVERLAP)


def fitting(samples: Sequence[Sample], classes: Sequence[str], low_res: int) -> int:
    """Smallest number of tiles per side, at most 3, with which the median object spans seven cells of the mask logits.

    Args:
        samples: training images.
        classes: class names.
        low_res: side of the low-resolution logits, in cells.
    """
    sides = [_side(a.box, sample.size) for sample in samples for a in sample.of(classes)]
    if not sides:
        return 1
    cells = median(sides) * low_res
    return next((count for count in range(1, MOST) if cells / side(count) >= _CELLS), MOST)


def cut_off(box: tuple[int, int, int, int], view: View, size: tuple[int, int]) -> bool:
    """Whether an inner edge of a view cuts an object; masks fade out within about 1 % of an edge.

    Args:
        box: first and last column and row of the object in the view (x0, y0, x1, y1), all inclusive.
        view: part of the image.
        size: (height, width) of the image.
    """
    top, bottom, left, right = view.edges(*size)
    height, width = bottom - top, right - left
    across, down = max(1, width // 100), max(1, height // 100)
    x0, y0, x1, y1 = box
    at_rows = (top > 0 and y0 < down) or (bottom < size[0] and y1 >= height - down)
    return at_rows or (left > 0 and x0 < across) or (right < size[1] and x1 >= width - across)


def exceeds_overlap(box: tuple[float, float, float, float], size: tuple[int, int], tiles: int) -> bool:
    """Whether an object is longer than the overlap of the tiles, so that it may be complete in none of them.

    Args:
        box: (x0, y0, x1, y1) in pixels of the image, x1 and y1 exclusive.
        size: (height, width) of the image.
        tiles: tiles per side.
    """
    x0, y0, x1, y1 = box
    shared = OVERLAP / (tiles - (tiles - 1) * OVERLAP)
    return x1 - x0 > shared * size[1] or y1 - y0 > shared * size[0]


def _side(box: Sequence[float], size: tuple[int, int]) -> float:
    """Geometric mean of the sides of a box, relative to the sides of the image."""
    x0, y0, x1, y1 = box
    return ((x1 - x0) / size[1] * (y1 - y0) / size[0]) ** 0.5


__all__ = ["MOST", "OVERLAP", "cut_off", "exceeds_overlap", "fitting", "side", "views"]
