"""What a source sees in the views of one image, each object once: as `instances.objects` has it, on windows.

A source whose proposals look in tiles too sees an object in several of them. An object that no inner edge of its tile
cuts is taken from the tile, one that is larger than the overlap from the whole image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from samtailor.data.augment import View
from samtailor.data.tile_views import views
from samtailor.labelling._tiles import Piece
from samtailor.masks import interior
from samtailor.predict.instances import beyond_tiles, cut_off, mask_nms
from samtailor.structures import RunLengths


@dataclass(frozen=True)
class _Seen(RunLengths):
    """A piece, as `mask_nms` compares it."""

    piece: Piece
    rle: dict[str, Any]

    @property
    def label(self) -> str:
        return self.piece.label

    @property
    def rank(self) -> float:
        return self.piece.rank


def looks(tiles: Sequence[int]) -> list[tuple[View, tuple[int, ...]]]:
    """The views of an image that are wanted, the whole image first, each with the sources that want it.

    Args:
        tiles: of each source the tiles a side in which it looks.
    """
    wanted: dict[str, tuple[View, list[int]]] = {}
    for index, count in enumerate(tiles):
        for view in views(count):
            wanted.setdefault(view.key, (view, []))[1].append(index)
    return [(view, tuple(who)) for view, who in wanted.values()]


def placed(piece: Piece, view: View, size: tuple[int, int], tiles: int) -> Piece | None:
    """A piece of a view at its place in the image (height, width); None where another view shows it better."""
    if tiles == 1:
        return piece
    x0, y0, x1, y1 = interior.box(piece.mask)
    tight = (x0 + piece.x, y0 + piece.y, x1 + piece.x, y1 + piece.y)
    if view.untouched:
        return piece if beyond_tiles((*tight[:2], tight[2] + 1, tight[3] + 1), size, tiles) else None
    if cut_off(tight, view, size):
        return None
    top, _, left, _ = view.edges(*size)
    return replace(piece, x=piece.x + left, y=piece.y + top)


def once(pieces: Iterable[Piece], size: tuple[int, int]) -> list[Piece]:
    """The pieces of one source, each object of a class once, by falling rank; their run lengths are kept with them."""
    seen = [_Seen(piece, piece.encoded(size)) for piece in pieces]
    return [replace(one.piece, rle=one.rle) for one in mask_nms(seen)]


__all__ = ["looks", "once", "placed"]
