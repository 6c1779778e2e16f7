"""Classes that compete for a pixel: where their labels never overlap, a pixel belongs to one of them at most.

Which classes compete is decided by the labels that an adapter was fitted on (`fitting.contest.overlap`) and kept with
it (`InferenceSpec.exclusive`). Objects of automatic mode are separated here, after duplicates have been dropped and
masks have been postprocessed, in predict, label, serve and the page. A pixel that objects of competing classes share
goes to the one of higher score there: the probability of the pixel where the object is a part of a region map, else
the score of the object, both in [0, 1]. Objects of classes that do not compete keep all of their pixels, such as
parts within a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np

from samtailor.masks.nms import CONTAINMENT
from samtailor.masks.rle import encode

Pairs = frozenset[frozenset[str]]
"""Pairs of classes that compete."""
CERTAIN = 255
"""Value of a pixel of probability 1, see `ObjectPrompt.certainty`."""


class Scored(Protocol):
    """What `compete` reads of an object."""

    @property
    def rle(self) -> dict[str, Any]:
        """COCO run-length encoding of the mask, in the image frame."""

    @property
    def label(self) -> str | None:
        """Class name."""

    @property
    def score(self) -> float:
        """In [0, 1]."""


Object = TypeVar("Object", bound=Scored)


class Competing(Protocol):
    """An adapter with the prompt source that it uses, such as `source.AdapterSource`."""

    @property
    def exclusive(self) -> Iterable[Iterable[str]]:
        """Pairs of classes that compete."""


def exclusive_pairs(sources: Iterable[Competing]) -> Pairs:
    """The pairs of classes that compete according to any of the adapters."""
    return frozenset(frozenset(pair) for source in sources for pair in source.exclusive)


def compete(
    objects: Sequence[Object], pairs: Pairs, *, certainty: Callable[[Object], np.ndarray | None] = lambda one: None
) -> list[Object]:
    """The objects of an image with each contested pixel at one of them; the order stays.

    An object of which more than `masks.nms.CONTAINMENT` goes to others is dropped, as a part of a kept object of its
    own class is.

    Args:
        objects: dataclasses with `rle`; of several classes.
        pairs: classes that compete.
        certainty: probability of each pixel of the image that it belongs to the class of the object, uint8 (height,
            width), 255 for 1; None: the score of the object for all of its pixels.
    """
    rles, labels = [one.rle for one in objects], [one.label for one in objects]
    kept = _separated(rles, [_values(certainty(one), one.score) for one in objects], _rivals(rles, labels, pairs))
    changed: list[Any] = list(objects)
    return [
        one if rle is one.rle else replace(one, rle=rle)
        for one, rle in zip(changed, kept, strict=True)
        if rle is not None
    ]


def _separated(
    rles: Sequence[dict[str, Any]], values: Sequence[np.ndarray | float], rivals: Mapping[int, Sequence[int]]
) -> list[dict[str, Any] | None]:
    """The run lengths of each object after the competition, the same object where it loses nothing; None: dropped.

    Args:
        rles: of the objects of an image.
        values: score of each pixel, or of all pixels, see `_values`.
        rivals: index of an object to those that it competes with.
    """
    from pycocotools import mask as coco

    masks = {index: coco.decode(dict(rles[index])).astype(bool) for index in rivals}
    out: list[dict[str, Any] | None] = list(rles)
    for index, others in rivals.items():
        mask, mine = masks[index].copy(), values[index]
        for other in others:
            contested, theirs = masks[index] & masks[other], values[other]
            wins = theirs > mine if index < other else theirs >= mine  # of equals, the first one
            mask &= ~(contested & wins)
        area = int(np.count_nonzero(masks[index]))
        left = int(np.count_nonzero(mask))
        if left < area:
            out[index] = encode(mask) if left >= (1 - CONTAINMENT) * area and left else None
    return out


def _rivals(rles: Sequence[dict[str, Any]], labels: Sequence[str | None], pairs: Pairs) -> dict[int, list[int]]:
    """The objects of competing classes that share a pixel with each object; objects without any are left out."""
    from pycocotools import mask as coco

    rivals: dict[int, list[int]] = {}
    for one, other in (sorted(pair) for pair in pairs if len(pair) == 2):
        first, second = ([index for index, label in enumerate(labels) if label == name] for name in (one, other))
        if not first or not second:
            continue
        table = np.asarray(coco.iou([dict(rles[i]) for i in first], [dict(rles[i]) for i in second], [0] * len(second)))
        for row, column in zip(*np.nonzero(table > 0), strict=True):
            rivals.setdefault(first[row], []).append(second[column])
            rivals.setdefault(second[column], []).append(first[row])
    return rivals


def _values(certainty: np.ndarray | None, score: float) -> np.ndarray | float:
    """Score of each pixel, as a share of `CERTAIN`."""
    return CERTAIN * score if certainty is None else certainty


__all__ = ["CERTAIN", "Pairs", "compete", "exclusive_pairs"]
