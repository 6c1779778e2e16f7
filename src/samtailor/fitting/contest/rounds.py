"""The rounds of a contest: successive halving on all folds, as long as there is time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.choice import PROMPTED, survivors, variant_of
from samtailor.fitting.contest.schedule import LONGER, Schedule
from samtailor.fitting.contest.scoring import BASE, Scores
from samtailor.fitting.gate import Difference

Row = tuple[Candidate, int, Mapping[str, Scores]]
"""Candidate, steps of its fits, and its out-of-fold scores by way of use."""


@dataclass
class Rounds:
    """What the rounds have found.

    Args:
        rows: of each candidate the round that counts.
        dropped: names of the candidates that took no further part after the first round.
        earlier: rounds that do not count, as rows of plan.json.
        growing: prompt candidates whose last round was better than the one before by more than the standard error.
        promising: prompt candidates that are better than the base model, if not by more than the standard error: they
            get a further round only where nothing else needs the time.
    """

    rows: list[Row] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    earlier: list[dict[str, Any]] = field(default_factory=list)
    growing: list[Candidate] = field(default_factory=list)
    promising: list[Candidate] = field(default_factory=list)


def hold_rounds(
    fitted: Sequence[Candidate],
    schedule: Schedule,
    groups: Mapping[str, str],
    hold: Callable[[Mapping[Candidate, int]], list[Row]],
    first_plan: int = 0,
) -> Rounds:
    """Short fits of all candidates, longer ones of those that may be the best, and then, while they gain and there is
    time, still longer ones of the prompt candidates alone.

    Args:
        fitted: candidates to compare.
        schedule: of the contest.
        groups: group of each image.
        hold: fits candidates on all folds for some steps.
        first_plan: see `DataFingerprint`.
    """
    first = hold(schedule.first_round(fitted))
    kept = survivors(first, groups, first_plan)
    made = Rounds(first, [one.name for one in fitted if one not in kept])
    gains = {one: gain(scores, None, groups) for one, _, scores in first if one in kept and _prompted(one)}
    made.growing = [one for one, change in gains.items() if change.better]
    made.promising = [one for one, change in gains.items() if not change.better and change.mean > 0]
    open_to = [one for one in fitted if one in kept and (one in made.growing or one not in gains)]
    steps = schedule.second_round(open_to)
    before = {one: count for one, count, _ in first}
    steps = {one: count for one, count in steps.items() if count >= LONGER * before[one]}
    steps = steps or _further(made, kept, schedule)
    while steps:
        for row in hold(steps):
            _count(made, row, groups)
        steps = _further(made, kept, schedule)
    return made


def gain(new: Mapping[str, Scores], old: Mapping[str, Scores] | None, groups: Mapping[str, str]) -> Difference:
    """Clicks and boxes together, new minus old, each at its best strength; the rows are the same objects.

    Args:
        new: scores by way of use.
        old: to compare with; None: the base model.
        groups: group of each image.
    """
    ways = [way for way in PROMPTED if way in new]
    after = [new[way].values[variant_of(way, new[way], groups)] for way in ways]
    before = [
        new[way].values[BASE] if old is None else old[way].values[variant_of(way, old[way], groups)] for way in ways
    ]
    names = [groups.get(id, id) for way in ways for id in new[way].images]
    return Difference.of(list(chain(*after)), list(chain(*before)), names)


def _further(made: Rounds, kept: Sequence[Candidate], schedule: Schedule) -> dict[Candidate, int]:
    """The next round of a prompt candidate that still gains, or may; empty without one, or without time for it."""
    others = [one for one in kept if not _prompted(one)][:1]
    for one in (*made.growing, *made.promising):
        last = next(steps for candidate, steps, _ in made.rows if candidate is one)
        steps = schedule.further_round(one, others)
        if steps >= LONGER * last:
            return {one: steps}
    return {}


def _count(made: Rounds, row: Row, groups: Mapping[str, str]) -> None:
    """Let a round take the place of the one before; for prompts only if it is better."""
    candidate, _, scores = row
    index = next(index for index, one in enumerate(made.rows) if one[0] is candidate)
    old, counts = made.rows[index], True
    if _prompted(candidate):
        change = gain(scores, old[2], groups)
        counts = change.mean > 0
        made.growing = [one for one in made.growing if one is not candidate] + ([candidate] if change.better else [])
        made.promising = [one for one in made.promising if one is not candidate]
    made.earlier.append(_listed(old if counts else row))
    made.rows[index] = row if counts else old


def _prompted(candidate: Candidate) -> bool:
    return "region" not in candidate.ways


def _listed(row: Row) -> dict[str, Any]:
    candidate, steps, scores = row
    return {"candidate": candidate.name, "steps": steps, "means": {w: s.mean(s.best) for w, s in scores.items()}}


__all__ = ["Rounds", "Row", "gain", "hold_rounds"]
