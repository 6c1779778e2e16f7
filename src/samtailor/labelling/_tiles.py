"""Large images in overlapping tiles, and one object again what several tiles saw of it.

A tile is a square of the image in its own pixels, so objects have the size they had in training when the tile's side
is that of the training images. All tiles are full squares: those at the border are moved inwards, and where the whole
image is narrower the rest is filled with the mean colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from samtailor.errors import InputError
from samtailor.structures.disjoint_sets import DisjointSets

NMS_IOU = 0.5
"""IoU of two pieces within the strip that both tiles see, from which on they are one object."""
CONTAINMENT = 0.7
"""Likewise the share of a piece cut off by its tile's edge that lies in the other piece."""
WHOLE = 0.9
"""A piece that no edge cuts, with this share of all that was seen, is the object; else the pieces are joined."""


@dataclass(frozen=True)
class Tile:
    """A square of the image: first column and row, side, and the (height, width) of the image."""

    x: int
    y: int
    side: int
    size: tuple[int, int]

    def cut(self, image: np.ndarray, fill: Sequence[float]) -> np.ndarray:
        """uint8 (side, side, 3) of the image; `fill` is the colour beyond it."""
        part = image[self.y : self.y + self.side, self.x : self.x + self.side]
        if part.shape[:2] == (self.side, self.side):
            return np.ascontiguousarray(part)
        full = np.empty((self.side, self.side, 3), np.uint8)
        full[:] = np.round(fill)
        full[: part.shape[0], : part.shape[1]] = part
        return full

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 within the image, x1 and y1 exclusive."""
        return self.x, self.y, min(self.x + self.side, self.size[1]), min(self.y + self.side, self.size[0])


@dataclass(frozen=True)
class Piece:
    """What one tile shows of an object.

    Args:
        mask: bool, the part of the image that starts at column `x` and row `y`.
        label, score, adapter: see `LabelledObject`.
        tile: that it was seen in; None once it is put together.
        rank: what decides between two answers to one object.
        rle: `encoded` of the image that it lies in, where that was asked for already.
    """

    mask: np.ndarray
    x: int
    y: int
    label: str
    score: float
    adapter: str | None
    tile: Tile | None = None
    rank: float = 0.0
    rle: dict[str, Any] | None = None

    def encoded(self, size: tuple[int, int]) -> dict[str, Any]:
        """Run lengths of the whole image (height, width) from the window alone: only its columns are looked at."""
        from pycocotools import mask as coco

        height, width = size
        columns = self.within((self.box[0], 0, self.box[2], height))
        flat = columns.ravel(order="F")
        turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        turns = np.concatenate([[0], turns]) if flat[0] else turns
        if len(turns) % 2:  # the last run of the object ends with the window
            turns = np.append(turns, len(flat))
        counts = np.diff(turns + self.x * height, prepend=0, append=height * width)
        counts = counts[:-1] if counts[-1] == 0 else counts
        return coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 of the array within the image."""
        return self.x, self.y, self.x + self.mask.shape[1], self.y + self.mask.shape[0]

    def within(self, box: tuple[int, int, int, int]) -> np.ndarray:
        """The mask in a box of the image, bool (y1 - y0, x1 - x0)."""
        x0, y0, x1, y1 = box
        out = np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), bool)
        cx0, cy0, cx1, cy1 = _common(self.box, box)
        if cx1 > cx0 and cy1 > cy0:
            part = self.mask[cy0 - self.y : cy1 - self.y, cx0 - self.x : cx1 - self.x]
            out[cy0 - y0 : cy1 - y0, cx0 - x0 : cx1 - x0] = part
        return out

    @property
    def cut_off(self) -> bool:
        """Whether it reaches an edge of its tile that is not an edge of the image."""
        tile, margin = self.tile, max(1, self.tile.side // 100)  # masks fade out a little before the edge
        x0, y0, x1, y1 = tile.box
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        if not len(rows):
            return False
        left, right = self.x + columns[0], self.x + columns[-1] + 1
        top, bottom = self.y + rows[0], self.y + rows[-1] + 1
        height, width = tile.size
        return bool(
            (x0 > 0 and left < x0 + margin)
            or (y0 > 0 and top < y0 + margin)
            or (x1 < width and right > x1 - margin)
            or (y1 < height and bottom > y1 - margin)
        )


def tiles(height: int, width: int, side: int, overlap: float) -> list[Tile]:
    """Tiles that cover an image, rows first, evenly spaced, each overlapping the next by at least the share.

    Raises:
        InputError: a side below 32 or an overlap outside [0, 0.9].
    """
    if side < 32 or not 0 <= overlap <= 0.9:
        raise InputError(f"Tiles need a side of at least 32 px and an overlap in [0, 0.9], got {side} and {overlap}.")
    rows, columns = (_starts(length, side, overlap) for length in (height, width))
    return [Tile(x, y, side, (height, width)) for y in rows for x in columns]


def merged(pieces: Iterable[Piece], *, regions: bool = False) -> list[Piece]:
    """Objects from the pieces of all tiles, by label; no piece is lost, none appears twice.

    Args:
        pieces: of one adapter.
        regions: all pieces of a label are one object.
    """
    by_label: dict[str, list[Piece]] = {}
    for piece in pieces:
        by_label.setdefault(piece.label, []).append(piece)
    groups = (group for own in by_label.values() for group in ([own] if regions else _groups(own)))
    return [_joined(group) for group in groups]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    if length <= side:
        return [0]
    count = int(np.ceil((length - side) / (side * (1 - overlap)))) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def _groups(pieces: list[Piece]) -> list[list[Piece]]:
    """Pieces that are one object: each has at most one partner in another tile, the one most like it."""
    pairs = []
    for i, one in enumerate(pieces):
        for j in range(i + 1, len(pieces)):
            likeness = _likeness(one, pieces[j])
            if likeness > 0:
                pairs.append((likeness, i, j))
    sets = DisjointSets(len(pieces))
    taken: set[tuple[int, int, int]] = set()
    for _, i, j in sorted(pairs, reverse=True):
        ends = ((i, *_place(pieces[j])), (j, *_place(pieces[i])))
        if not taken.intersection(ends):
            taken.update(ends)
            sets.union(i, j)
    return [[pieces[i] for i in group] for group in sets.groups()]


def _likeness(one: Piece, other: Piece) -> float:
    """IoU where both tiles look, or 0 where that does not make them one object."""
    if one.tile == other.tile:
        return 0.0
    both = _common(one.tile.box, other.tile.box)
    x0, y0, x1, y1 = _common(_common(one.box, other.box), both)
    if x1 <= x0 or y1 <= y0:
        return 0.0
    a, b = one.within(both), other.within(both)
    common = int((a & b).sum())
    if not common:
        return 0.0
    first, second = int(a.sum()), int(b.sum())
    overlap = common / (first + second - common)
    smaller, least = (one, first) if first <= second else (other, second)
    return overlap if overlap >= NMS_IOU or (smaller.cut_off and common >= CONTAINMENT * least) else 0.0


def _joined(group: list[Piece]) -> Piece:
    boxes = np.array([piece.box for piece in group])
    box = (*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())
    union = np.logical_or.reduce([piece.within(box) for piece in group])
    areas = [int(piece.mask.sum()) for piece in group]
    order = sorted(zip(group, areas, strict=True), key=lambda row: -row[0].score)
    for piece, area in order:
        if not piece.cut_off and area >= WHOLE * union.sum():
            return replace(piece, tile=None)
    score = float(np.average([piece.score for piece in group], weights=np.maximum(areas, 1)))
    return replace(order[0][0], mask=union, x=box[0], y=box[1], score=score, tile=None)


def _place(piece: Piece) -> tuple[int, int]:
    return piece.tile.x, piece.tile.y


def _common(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])


__all__ = ["CONTAINMENT", "NMS_IOU", "Piece", "Tile", "merged", "tiles"]
