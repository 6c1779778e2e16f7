"""How single objects are found without a prompt: candidates are compared on images that they have not learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from samtailor.errors import InputError
from samtailor.fitting.contest.instance_choice import InstanceChoice, InstanceEntry, on_same_images, simplest
from samtailor.fitting.contest.instances import InstanceCandidate, all_instance_candidates
from samtailor.fitting.contest.objects import ObjectScores
from samtailor.fitting.contest.state import ContestState


@dataclass
class InstanceComparison:
    """The candidates of one contest; what is chosen goes into its `instances`."""

    contest: ContestState
    candidates: list[InstanceCandidate] = field(default_factory=list)

    def reserve(self, left: float) -> float:
        """Seconds of one process that are kept for the comparison; 0 if there is nothing to compare.

        Args:
            left: seconds of one process that the contest has.
        """
        contest = self.contest
        maps = any("region" in one.ways for one in contest.candidates)
        if not maps or not contest.folds or (contest.data.most_objects < 2 and not any(contest.negatives)):
            return 0.0
        self.candidates = all_instance_candidates(contest)
        return sum(one.reserve(left) for one in self.candidates)

    def compare(self, left: float) -> None:
        """Choose among the candidates that have predictions, and their variants.

        Args:
            left: see `reserve`, after the rounds.
        """
        contest = self.contest
        if contest.choice.region is None:
            return
        entries, made = [], {}
        judged = [*contest.train, *(sample for some in contest.negatives for sample in some)]
        for one in self.candidates:
            variants = one.out_of_fold(left)
            if variants:
                made[one.name] = one
                scores = {name: ObjectScores.of(masks, judged, contest.classes) for name, masks in variants.items()}
                best = max(scores, key=lambda name: scores[name].f1)
                entries.append(InstanceEntry(one.name, one.title, best, scores[best]))
        if not entries:
            return
        entries = on_same_images(entries)
        chosen = simplest(entries, contest.groups)
        decision = made[chosen.name].decision(chosen.variant)
        settings = [made[one.name].decision(one.variant) or {} for one in entries]
        contest.instances = InstanceChoice(
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
        self.contest.instances = InstanceChoice(decisions=dict(decisions))

    def write(self) -> None:
        """Add what the chosen candidate has learnt to the adapter in the folder of the contest."""
        for one in self.candidates:
            if one.name in self.contest.instances.decisions:
                one.write(self.contest.instances.decisions[one.name])


__all__ = ["InstanceComparison"]
