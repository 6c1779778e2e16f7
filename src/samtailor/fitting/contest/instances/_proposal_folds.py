"""Images of learned proposals in a contest, by fold."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samtailor.fitting.contest.state import ContestState
    from samtailor.structures import Sample

NEGATIVES = 64
"""Images without an object that are trained on, at most, and no more than there are with one."""


def negatives_of(contest: ContestState) -> list[Sample]:
    """Images without an object of the classes: training images, and images in no part with objects of other classes.

    Images without any object may not be annotated yet. With a number of shots (`FitConfig.shots`) only training images
    count as annotated.
    """
    used = set(contest.split.train)
    elsewhere = {*contest.split.val, *contest.split.test}
    few = contest.config.shots is not None
    empty = [
        sample
        for sample in contest.samples
        if sample.id not in elsewhere and not any(one.label in contest.classes for one in sample.annotations)
        and (sample.id in used or (sample.annotations and not few))
    ]  # fmt: skip
    return sorted(empty, key=lambda sample: sha256(sample.id.encode()).hexdigest())[
        : min(NEGATIVES, len(contest.train))
    ]


def rows_of_folds(
    folds: Sequence[Sequence[str]], train: Sequence[Sample], negatives: Sequence[Sample]
) -> list[tuple[int, ...]]:
    """Rows of the images of each fold; those without an object are distributed, each with the others of its group."""
    rows = {sample.id: row for row, sample in enumerate(train)}
    made = [[rows[id] for id in fold] for fold in folds]
    turns: dict[str, int] = {
        sample.group: number for number, fold in enumerate(made) for row in fold if (sample := train[row]).group
    }
    for count, sample in enumerate(negatives):
        if made:
            turn = turns.setdefault(sample.group or sample.id, count % len(made))
            made[turn].append(len(train) + count)
    return [tuple(fold) for fold in made]


def turns(units: Sequence[int], workers: int) -> int:
    """Time of jobs of so many units by several workers, the longest jobs first."""
    loads = [0] * max(workers, 1)
    for one in sorted(units, reverse=True):
        loads[loads.index(min(loads))] += one
    return max(loads)


__all__ = ["NEGATIVES", "negatives_of", "rows_of_folds", "turns"]
