"""Images without an object of the classes of a contest."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from samtailor.data.account import OTHER_CLASS

if TYPE_CHECKING:
    from samtailor.data.split import Split
    from samtailor.structures import Sample

NEGATIVES = 64
"""Images without an object that are trained on, at most, and no more than there are with one."""

MOST_JUDGED = 4
"""Images without an object that are predicted with each fold, at most."""


def negatives_of(
    samples: Sequence[Sample], split: Split, classes: Sequence[str], *, shots: int | None, most: int
) -> list[Sample]:
    """Images without an object of the classes: training images, and images in no part with objects of other classes.

    Images without any object may not be annotated yet.

    Args:
        samples: all images.
        split: their parts.
        classes: names.
        shots: of the fit (`FitConfig.shots`); with a number only training images count as annotated.
        most: number of images with an object; no more without one are returned, and at most `NEGATIVES`.
    """
    used, elsewhere = set(split.train), {*split.val, *split.test}
    empty = [
        sample
        for sample in samples
        if sample.id not in elsewhere and not any(one.label in classes for one in sample.annotations)
        and (sample.id in used or (shots is None and _annotated(sample)))
    ]  # fmt: skip
    return sorted(empty, key=lambda sample: sha256(sample.id.encode()).hexdigest())[: min(NEGATIVES, most)]


def _annotated(sample: Sample) -> bool:
    """Whether the image has objects of other classes, also of those that the fit does not read."""
    return bool(sample.annotations) or any(one.kind == OTHER_CLASS for one in sample.tally.left_out)


def judged_in_folds(
    negatives: Sequence[Sample], folds: Sequence[Sequence[str]], groups: dict[str, str]
) -> list[tuple[Sample, ...]]:
    """Images without an object that are predicted with each fold: as many as it has images, at most `MOST_JUDGED`.

    Args:
        negatives: none of them is trained on.
        folds: ids of the images with objects.
        groups: group of each of these; an image without an object whose group is among them is left out.
    """
    shown = set(groups.values())
    free = [one for one in negatives if one.group is None or one.group not in shown]
    made: list[tuple[Sample, ...]] = []
    for number, fold in enumerate(folds):
        own = free[number :: len(folds)]
        made.append(tuple(own[: min(len(fold), MOST_JUDGED)]))
    return made


__all__ = ["MOST_JUDGED", "NEGATIVES", "judged_in_folds", "negatives_of"]
