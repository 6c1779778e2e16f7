"""What is chosen for single objects without a prompt: the simplest candidate that no other is better than by more than
the standard error, by F1 of objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from samtailor.fitting.contest.objects import ObjectScores
from samtailor.masks import metrics


@dataclass(frozen=True)
class InstanceEntry:
    """One candidate with its best variant.

    Args:
        name, title: of the candidate.
        variant: of the highest F1.
        scores: of that variant.
    """

    name: str
    title: str
    variant: str
    scores: ObjectScores

    def row(self, reference: ObjectScores, groups: Mapping[str, str]) -> dict[str, Any]:
        """A row of plan.json, with the difference to the simplest candidate."""
        names = [groups.get(id, id) for id in self.scores.images]
        _, low, high = metrics.bootstrap(self.scores.by_image, names)
        change = self.scores.over(reference, groups)
        figures = {"mean": self.scores.f1, "interval": None if math.isnan(low) else [low, high]}
        difference = {} if self.scores is reference else {"difference": change.mean, "error": change.error}
        return {"candidate": self.name, "title": self.title, "variant": self.variant, **figures, **difference,
                **self.scores.to_json()}  # fmt: skip


@dataclass
class InstanceChoice:
    """Decision about single objects.

    Args:
        chosen: name of the candidate; empty if nothing was compared.
        rows: of plan.json, the simplest candidate first.
        decisions: candidate to its entry in the decisions of plan.json; only the chosen one may have one.
    """

    chosen: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    decisions: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def on_same_images(entries: Sequence[InstanceEntry]) -> list[InstanceEntry]:
    """The entries with the scores of the images that all of them have."""
    common = set.intersection(*(set(one.scores.images) for one in entries))
    return [InstanceEntry(one.name, one.title, one.variant, one.scores.only(common)) for one in entries]


def simplest(entries: Sequence[InstanceEntry], groups: Mapping[str, str]) -> InstanceEntry:
    """The first of the entries that no later one is better than by more than the standard error.

    Args:
        entries: the simplest first, with scores of the same images.
        groups: group of each image.
    """
    current = entries[0]
    for one in entries[1:]:
        change = one.scores.over(current.scores, groups)
        if change.enough and change.better:
            current = one
    return current


__all__ = ["InstanceChoice", "InstanceEntry", "on_same_images", "simplest"]
