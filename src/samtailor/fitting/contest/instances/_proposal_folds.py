"""Images and thresholds of learned proposals in a contest, by fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from samtailor.fitting.contest.instances._proposal_jobs import Scored
from samtailor.fitting.contest.objects import Masks, ObjectScores

if TYPE_CHECKING:
    from samtailor.fitting.contest.state import ContestState
    from samtailor.structures import Sample

NEGATIVES = 64
"""Images without an object that are trained on, at most, and no more than there are with one."""
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(19))
"""Lowest scores to compare; the first of those that are equal is taken. Scores are probabilities, and the threshold
of the calibration holds in any case."""


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


def cross_fitted(
    folds: list[Mapping[str, Sequence[Scored]]], truths: Mapping[str, Sequence[dict[str, Any]]]
) -> tuple[Masks, float]:
    """Objects at the threshold of their fold, which has the best F1 on the images of the other folds, and the threshold
    that has it on all images.

    Args:
        folds: image to its scored objects, for each fold.
        truths: image to the masks of its annotated objects.
    """
    best = [_best_threshold(folds[:number] + folds[number + 1 :], truths) for number in range(len(folds))]
    masks = {id: kept(rows, least) for fold, least in zip(folds, best, strict=True) for id, rows in fold.items()}
    return masks, _best_threshold(folds, truths)


def kept(objects: Sequence[Scored], threshold: float) -> list[dict[str, Any]]:
    """Masks of the objects with at least a score."""
    return [rle for score, rle in objects if score >= threshold]


def _best_threshold(
    folds: Sequence[Mapping[str, Sequence[Scored]]], truths: Mapping[str, Sequence[dict[str, Any]]]
) -> float:
    def f1(threshold: float) -> float:
        scores = ObjectScores()
        for fold in folds:
            for id, rows in fold.items():
                scores.add(id, kept(rows, threshold), truths[id])
        return scores.f1

    return max(THRESHOLDS, key=f1)


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


__all__ = ["NEGATIVES", "THRESHOLDS", "cross_fitted", "kept", "negatives_of", "rows_of_folds", "turns"]
