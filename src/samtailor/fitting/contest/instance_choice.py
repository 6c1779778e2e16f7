"""How single objects are found without a prompt: candidates are compared by F1 of objects that they have not learnt
from, and the simplest one is kept that no other is better than by more than the standard error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from samtailor.errors import InputError
from samtailor.fitting.contest.instances import InstanceCandidate, all_instance_candidates
from samtailor.fitting.contest.objects import ObjectScores
from samtailor.masks import metrics

if TYPE_CHECKING:
    from samtailor.fitting.contest.state import ContestState


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


@dataclass
class Instances:
    """The candidates of one contest, and what was chosen."""

    contest: ContestState
    candidates: list[InstanceCandidate] = field(default_factory=list)
    choice: InstanceChoice = field(default_factory=InstanceChoice)

    def reserve(self, left: float) -> float:
        """Seconds of one process that are kept for the comparison; 0 if there is nothing to compare.

        Args:
            left: seconds of one process that the contest has.
        """
        contest = self.contest
        maps = any("region" in one.ways for one in contest.candidates)
        if not maps or not contest.folds or contest.data.most_objects < 2:
            return 0.0
        self.candidates = all_instance_candidates(contest)
        return sum(one.reserve(left) for one in self.candidates)

    def compare(self, left: float) -> None:
        """Choose among the candidates, if there are at least two with predictions.

        Args:
            left: see `reserve`, after the rounds.
        """
        contest = self.contest
        if contest.choice.region is None:
            return
        entries, made = [], {}
        for one in self.candidates:
            variants = one.out_of_fold(left)
            if variants:
                made[one.name] = one
                scores = {
                    name: ObjectScores.of(masks, contest.train, contest.classes) for name, masks in variants.items()
                }
                best = max(scores, key=lambda name: scores[name].f1)
                entries.append(InstanceEntry(one.name, one.title, best, scores[best]))
        if len(entries) < 2:
            return
        entries = on_same_images(entries)
        chosen = simplest(entries, contest.groups)
        decision = made[chosen.name].decision(chosen.variant)
        settings = [made[one.name].decision(one.variant) or {} for one in entries]
        self.choice = InstanceChoice(
            chosen.name,
            [
                one.row(entries[0].scores, contest.groups) | setting
                for one, setting in zip(entries, settings, strict=True)
            ],
            {} if decision is None else {chosen.name: decision},
        )

    def repeat(self, decisions: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the decisions of a plan.

        Raises:
            InputError: a candidate does not suit the data.
        """
        if not decisions:
            return
        self.candidates = all_instance_candidates(self.contest)
        known = [one.name for one in self.candidates]
        for name in decisions:
            if name not in known:
                raise InputError(
                    f"plan, decisions.{name}: this does not suit these data, which have one object per image."
                )
        self.choice = InstanceChoice(decisions=dict(decisions))

    def write(self) -> None:
        """Add what the chosen candidate has learnt to the adapter in the folder of the contest."""
        for one in self.candidates:
            if one.name in self.choice.decisions:
                one.write(self.choice.decisions[one.name])


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


__all__ = ["InstanceChoice", "InstanceEntry", "Instances", "on_same_images", "simplest"]
