"""Folds over the groups of the training images, and scores of candidates on images that they have not learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from samtailor.data.split import Split
from samtailor.fitting.contest.jobs import Fitted
from samtailor.fitting.contest.scoring import Scores
from samtailor.fitting.gate import Difference

FOLDS = 3
LEAVE_ONE_OUT = 4
"""Up to so many groups, each is a fold."""


def group_of(split: Split, explicit: Mapping[str, str]) -> dict[str, str]:
    """Group of each training image.

    Args:
        split: whose groups (near duplicates) stay together.
        explicit: id to the group that the data set names.
    """
    groups = {id: members[0] for members in split.groups for id in members}
    return {id: groups.get(id, explicit.get(id, id)) for id in split.train}


def folds_of(
    ids: Sequence[str], groups: Mapping[str, str], seed: int, *, count: int | None = None
) -> list[tuple[str, ...]]:
    """Ids of each fold, whole groups; empty with fewer than two groups.

    Args:
        ids: of the images.
        groups: group of each.
        seed: of the assignment.
        count: number of folds; None: `FOLDS`, or one per group with at most `LEAVE_ONE_OUT` groups.
    """
    members: dict[str, list[str]] = {}
    for id in ids:
        members.setdefault(groups[id], []).append(id)
    if len(members) < 2:
        return []
    count = count or (len(members) if len(members) <= LEAVE_ONE_OUT else FOLDS)
    folds: list[list[str]] = [[] for _ in range(count)]
    order = np.random.default_rng([seed, 6]).permutation(len(members))
    named = list(members.values())
    for turn in sorted(order.tolist(), key=lambda number: -len(named[number])):  # the largest groups first
        min(folds, key=len).extend(named[turn])
    return [tuple(fold) for fold in folds]


def joined(parts: Sequence[Fitted]) -> dict[str, Scores]:
    """Scores of all folds by way of use."""
    scores: dict[str, Scores] = {}
    for part in parts:
        for way, some in part.scores.items():
            scores.setdefault(way, Scores()).extend(some)
    return scores


def difference(first: Scores, variant: str, second: Scores, other: str, groups: Mapping[str, str]) -> Difference:
    """First minus second, paired by row."""
    names = [groups.get(id, id) for id in first.images]
    return Difference.of(first.values[variant], second.values[other], names, first.objects)


__all__ = ["FOLDS", "LEAVE_ONE_OUT", "difference", "folds_of", "group_of", "joined"]
