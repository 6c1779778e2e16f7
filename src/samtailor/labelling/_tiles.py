"""Split large images into overlapping tiles, and merge what the tiles show of one object.

A tile is a square of the image at its original resolution, so that objects have the size that they had in training if
the side of a tile is that of the training images. All tiles are full squares: tiles at the border are moved inwards,
and where the whole image is narrower, the rest is filled with the mean color.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from samtailor.errors import InputError
from samtailor.structures.disjoint_sets import DisjointSets

NMS_IOU = 0.5
"""IoU of two pieces, within the strip that both tiles show, from which on they are one object."""
CONTAINMENT = 0.7
"""The same for the share of a piece that its tile's edge cuts which lies inside the other piece."""
COMPLETE = 0.9
"""A piece that no edge cuts, and that covers this share of the union, is the object; else the pieces are joined."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Tile:
    """A square of an image.

    Args:
        x, y: first column and row.
        side: pixels.
        size: (height, width) of the image.
    """

    x: int
    y: int
    side: int
    size: tuple[int, int]

    def crop(self, image: np.ndarray, fill: Sequence[float]) -> np.ndarray:
        """The tile's pixels, uint8 (side, side, 3); `fill` is the color outside the image."""
        part = image[self.y : self.y + self.side, self.x : self.x + self.side]
        if part.shape[:2] == (self.side, self.side):
            return np.ascontiguousarray(part)
        full = np.empty((self.side, self.side, 3), np.uint8)
        full[:] = np.round(fill)
        full[: part.shape[0], : part.shape[1]] = part
        return full

    @property
    def box(self) -> Box:
        """x0, y0, x1, y1 within the image, x1 and y1 exclusive."""
        return self.x, self.y, min(self.x + self.side, self.size[1]), min(self.y + self.side, self.size[0])


@dataclass(frozen=True)
class Piece:
    """The mask of an object, or the part of it that one tile shows, as a window of the image.

    Args:
        mask: bool, the part of the image that starts at column `x` and row `y`.
        label, score, adapter: see `LabelledObject`.
        tile: that shows it; None for a complete object.
        rank: sort key among predictions of the same object.
        rle: the mask in the frame of the whole image, COCO run-length encoding; empty until it is computed.
        certainty: see `ObjectPrompt.certainty`; None for pieces of tiles.
    """

    mask: np.ndarray
    x: int
    y: int
    label: str
    score: float
    adapter: str | None
    tile: Tile | None = None
    rank: float = 0.0
    rle: dict[str, Any] = field(default_factory=dict)
    certainty: np.ndarray | None = field(default=None, compare=False, repr=False)

    def encoded(self, size: tuple[int, int]) -> dict[str, Any]:
        """Run lengths in an image of (height, width), computed from the columns of the window alone."""
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
    def box(self) -> Box:
        """x0, y0, x1, y1 of the window within the image, x1 and y1 exclusive."""
        return self.x, self.y, self.x + self.mask.shape[1], self.y + self.mask.shape[0]

    def within(self, box: Box) -> np.ndarray:
        """The mask in a box of the image, bool (y1 - y0, x1 - x0)."""
        x0, y0, x1, y1 = box
        out = np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), bool)
        cx0, cy0, cx1, cy1 = _intersection(self.box, box)
        if cx1 > cx0 and cy1 > cy0:
            part = self.mask[cy0 - self.y : cy1 - self.y, cx0 - self.x : cx1 - self.x]
            out[cy0 - y0 : cy1 - y0, cx0 - x0 : cx1 - x0] = part
        return out

    @property
    def source_tile(self) -> Tile:
        """The tile.

        Raises:
            InputError: the piece is not of a tile.
        """
        if self.tile is None:
            raise InputError("This piece is not of a tile.")
        return self.tile

    @property
    def cut_off(self) -> bool:
        """Whether it reaches an edge of its tile inside the image; masks fade out within about 1 % of an edge."""
        tile = self.source_tile
        margin = max(1, tile.side // 100)
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
    """Tiles that cover an image, row by row, evenly spaced, each overlapping the next by at least the given share.

    Raises:
        InputError: a side below 32 or an overlap outside [0, 0.9].
    """
    if side < 32 or not 0 <= overlap <= 0.9:
        raise InputError(f"Tiles need a side of at least 32 px and an overlap in [0, 0.9], got {side} and {overlap}.")
    rows, columns = (_starts(length, side, overlap) for length in (height, width))
    return [Tile(x, y, side, (height, width)) for y in rows for x in columns]


def merged(pieces: Iterable[Piece], *, regions: bool = False) -> list[Piece]:
    """Merge the pieces of all tiles into objects, class by class; every piece becomes part of exactly one object.

    Args:
        pieces: of one adapter, each with its tile.
        regions: all pieces of a class are one object.
    """
    by_label: dict[str, list[Piece]] = {}
    for piece in pieces:
        by_label.setdefault(piece.label, []).append(piece)
    groups = (group for of_label in by_label.values() for group in ([of_label] if regions else _groups(of_label)))
    return [_joined(group) for group in groups]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    if length <= side:
        return [0]
    count = int(np.ceil((length - side) / (side * (1 - overlap)))) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def _groups(pieces: list[Piece]) -> list[list[Piece]]:
    """Group the pieces of one object: each is linked to at most one piece per other tile, the most similar one."""
    pairs = [
        (similarity, i, j)
        for i, piece in enumerate(pieces)
        for j in range(i + 1, len(pieces))
        if (similarity := _similarity(piece, pieces[j])) > 0
    ]
    sets = DisjointSets(len(pieces))
    linked: set[tuple[int, int, int]] = set()
    for _, i, j in sorted(pairs, reverse=True):
        ends = ((i, *_corner(pieces[j])), (j, *_corner(pieces[i])))
        if not linked.intersection(ends):
            linked.update(ends)
            sets.union(i, j)
    return [[pieces[i] for i in group] for group in sets.groups()]


def _similarity(piece: Piece, other: Piece) -> float:
    """IoU within the strip that both tiles show; 0 if the pieces are different objects."""
    if piece.tile == other.tile:
        return 0.0
    strip = _intersection(piece.source_tile.box, other.source_tile.box)
    x0, y0, x1, y1 = _intersection(_intersection(piece.box, other.box), strip)
    if x1 <= x0 or y1 <= y0:
        return 0.0
    a, b = piece.within(strip), other.within(strip)
    common = int((a & b).sum())
    if not common:
        return 0.0
    first, second = int(a.sum()), int(b.sum())
    iou = common / (first + second - common)
    smaller, area = (piece, first) if first <= second else (other, second)
    return iou if iou >= NMS_IOU or (smaller.cut_off and common >= CONTAINMENT * area) else 0.0


def _joined(group: list[Piece]) -> Piece:
    """The piece that shows the complete object, else the union of the pieces with their mean score by area."""
    boxes = np.array([piece.box for piece in group])
    (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
    union = np.logical_or.reduce([piece.within((x0, y0, x1, y1)) for piece in group])
    areas = [int(piece.mask.sum()) for piece in group]
    order = sorted(zip(group, areas, strict=True), key=lambda row: -row[0].score)
    for piece, area in order:
        if not piece.cut_off and area >= COMPLETE * union.sum():
            return replace(piece, tile=None)
    score = float(np.average([piece.score for piece in group], weights=np.maximum(areas, 1)))
    return replace(order[0][0], mask=union, x=x0, y=y0, score=score, tile=None)


def _corner(piece: Piece) -> tuple[int, int]:
    return piece.source_tile.x, piece.source_tile.y


def _intersection(box: Box, other: Box) -> Box:
    return max(box[0], other[0]), max(box[1], other[1]), min(box[2], other[2]), min(box[3], other[3])


__all__ = ["CONTAINMENT", "NMS_IOU", "Piece", "Tile", "merged", "tiles"]
