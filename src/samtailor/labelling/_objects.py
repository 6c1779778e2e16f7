"""The objects of an image from the pieces of all sources: each once, postprocessed, competing classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from samtailor.data.writers import LabelledObject
from samtailor.labelling._tiles import Piece
from samtailor.masks.nms import mask_nms
from samtailor.predict.competition import compete, exclusive_pairs
from samtailor.predict.postprocessing import finished
from samtailor.predict.source import AdapterSource


def objects_of(
    by_source: Sequence[Sequence[Piece]], sources: Sequence[AdapterSource], size: tuple[int, int]
) -> tuple[LabelledObject, ...]:
    """Each object of a class once, whichever source found it, sorted by falling score.

    Competing classes share no pixel, see `predict.competition`.
    """
    drawn = [replace(one, rle=one.rle or one.encoded(size)) for pieces in by_source for one in pieces]
    kept = {id(one) for one in mask_nms(drawn, rank=lambda one: one.rank)}
    objects: list[_Certain] = []
    for pieces, source in zip(by_source, sources, strict=True):
        own, drawn = drawn[: len(pieces)], drawn[len(pieces) :]
        mine = [
            _Certain(one.label, one.rle, one.score, one.adapter, certainty=one.certainty)
            for one in own
            if id(one) in kept
        ]
        objects += finished(mine, source.postprocess)
    competing = compete(objects, exclusive_pairs(sources), certainty=lambda one: one.certainty)
    done = (LabelledObject(one.label, one.rle, one.score, one.adapter) for one in competing)
    return tuple(sorted(done, key=lambda one: -one.score))


@dataclass(frozen=True)
class _Certain(LabelledObject):
    """An object with the probability of each pixel, see `ObjectPrompt.certainty`."""

    certainty: np.ndarray | None = None


__all__ = ["objects_of"]
