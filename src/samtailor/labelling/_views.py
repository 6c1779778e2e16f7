"""Combine the predictions of one source on the views of an image, as `predict.instances` does, but on windows.

With several tiles per side, an object may be predicted in several views. It is taken from a tile unless an inner edge
of the tile cuts it, and from the whole image if it is larger than the overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from samtailor.data.augment import View
from samtailor.data.tile_views import cut_off, exceeds_overlap, views
from samtailor.labelling._tiles import Piece
from samtailor.masks import interior
from samtailor.masks.nms import mask_nms


def tile_views(tiles: Sequence[int]) -> list[tuple[View, tuple[int, ...]]]:
    """List the views of an image that the sources need, the whole image first, with the indices of the sources.

    Args:
        tiles: tiles per side of each source.
    """
    needed: dict[str, tuple[View, list[int]]] = {}
    for index, count in enumerate(tiles):
        for view in views(count):
            needed.setdefault(view.key, (view, []))[1].append(index)
    return [(view, tuple(indices)) for view, indices in needed.values()]


def in_image(piece: Piece, view: View, size: tuple[int, int], tiles: int) -> Piece | None:
    """Convert a piece to the frame of the image; None if the object is taken from another view.

    Args:
        piece: in the frame of the view.
        view: part of the image.
        size: (height, width) of the image.
        tiles: tiles per side of the source.
    """
    if tiles == 1:
        return piece
    x0, y0, x1, y1 = interior.box(piece.mask)
    tight = (x0 + piece.x, y0 + piece.y, x1 + piece.x, y1 + piece.y)
    if view.untouched:
        return piece if exceeds_overlap((*tight[:2], tight[2] + 1, tight[3] + 1), size, tiles) else None
    if cut_off(tight, view, size):
        return None
    top, _, left, _ = view.edges(*size)
    return replace(piece, x=piece.x + left, y=piece.y + top)


def suppress_duplicates(pieces: Iterable[Piece], size: tuple[int, int]) -> list[Piece]:
    """Each object of a class once, by falling rank, with its run lengths in an image of (height, width)."""
    return mask_nms([replace(piece, rle=piece.encoded(size)) for piece in pieces], rank=lambda piece: piece.rank)


__all__ = ["in_image", "suppress_duplicates", "tile_views"]
