"""Images of learned proposals in a contest, by fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samtailor.structures import Sample


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


__all__ = ["rows_of_folds", "turns"]
