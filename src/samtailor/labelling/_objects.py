"""The objects of an image from the pieces of all sources: each once, postprocessed, competing classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from samtailor.data.writers import LabelledObject
from samtailor.labelling._tiles import Piece
from samtailor.masks.nms import mask_nms
from samtailor.predict.competition import exclusive_pairs, separated
from samtailor.predict.postprocessing import finished
from samtailor.predict.source import AdapterSource

if TYPE_CHECKING:
    import numpy as np


def objects_of(
    by_source: Sequence[Sequence[Piece]], sources: Sequence[AdapterSource], size: tuple[int, int]
) -> tuple[LabelledObject, ...]:
    """Each object of a class once, whichever source found it, sorted by falling score.

    Competing classes share no pixel, see `predict.competition`.
    """
    drawn = [replace(one, rle=one.rle or one.encoded(size)) for pieces in by_source for one in pieces]
    kept = {id(one) for one in mask_nms(drawn, rank=lambda one: one.rank)}
    objects: list[LabelledObject] = []
    certainties: list[np.ndarray | None] = []
    for pieces, source in zip(by_source, sources, strict=True):
        own, drawn = drawn[: len(pieces)], drawn[len(pieces) :]
        for piece in own:
            if id(piece) in kept:
                one = LabelledObject(piece.label, piece.rle, piece.score, piece.adapter)
                objects += (done := finished([one], source.postprocess))
                certainties += [piece.certainty] * len(done)
    rles = separated(
        [one.rle for one in objects], [one.label for one in objects], [one.score for one in objects],
        exclusive_pairs(sources), certainties=certainties,
    )  # fmt: skip
    competing = (replace(one, rle=rle) for one, rle in zip(objects, rles, strict=True) if rle is not None)
    return tuple(sorted(competing, key=lambda one: -one.score))


__all__ = ["objects_of"]
