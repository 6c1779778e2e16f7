"""What is chosen from out-of-fold scores. Standard errors decide, and ties go to the simpler side."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.cross_validation import difference
from samtailor.fitting.contest.prompt_variant import PromptVariant
from samtailor.fitting.contest.region_variant import RegionVariant
from samtailor.fitting.contest.scoring import BASE, Scores
from samtailor.fitting.gate import Decision, Judged, decide
from samtailor.masks import metrics

PART = "cross-validated"
"""What the judged images are, see `gate.Judged.part`."""
GAIN = 0.01
"""Score; a variant that costs more, or is less simple, must gain as much."""
_OFFSET_GAIN = 0.04  # the same for an offset of the map
PROMPTED = ("click", "box")


@dataclass(frozen=True)
class Entry:
    """One candidate in one way of use.

    Args:
        candidate: the candidate.
        variant: its best one, see `scoring`.
        scores: of all folds.
        steps: updates of the fits that were scored.
    """

    candidate: Candidate
    variant: str
    scores: Scores
    steps: int

    @property
    def mean(self) -> float:
        """Mean score of the variant."""
        return self.scores.mean(self.variant)


@dataclass
class Choice:
    """Decisions for all ways of use.

    Args:
        decisions: of the gate.
        region: candidate that predicts without a prompt; None if there is none.
        prompt: candidate that answers clicks or boxes; None: the base model.
        prompts: "click" and "box" to how they are answered.
        table: by way of use, the rows of all candidates, for plan.json.
        entries: by way of use, the candidate that was compared with the base model, or the chosen region.
    """

    decisions: tuple[Decision, ...] = ()
    region: Entry | None = None
    prompt: Candidate | None = None
    prompts: dict[str, PromptVariant] = field(default_factory=dict)
    table: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)

    @property
    def strength(self) -> dict[str, float]:
        """ "click" and "box" to the strength of the prompt adapter."""
        return {way: one.strength for way, one in self.prompts.items()}

    @property
    def prompt_steps(self) -> int:
        """Updates of the fits of `prompt` that were scored; 0 without one."""
        return next((one.steps for one in self.entries.values() if one.candidate is self.prompt), 0)


def choose(
    entries: Sequence[tuple[Candidate, int, Mapping[str, Scores]]],
    groups: Mapping[str, str],
    *,
    first_plan: int = 0,
    dropped: Collection[str] = (),
    fallback: bool = True,
) -> Choice:
    """Choose for each way of use.

    Args:
        entries: candidate, steps of its fits, and its scores by way of use.
        groups: group of each image.
        first_plan: see `DataFingerprint`.
        dropped: names of candidates that took part in the first round only; one of them predicts without a prompt only
            if there is no other.
        fallback: let the base model answer where no candidate is better.
    """
    choice, decisions = Choice(), []
    prompts = [one for one in entries if set(one[0].ways) & set(PROMPTED)]
    best = max(prompts, key=lambda one: _gain(one[2], groups), default=None)
    for way in PROMPTED:
        rows = [Entry(c, _strength(s[way]), s[way], steps) for c, steps, s in entries if way in s]
        if not rows or best is None:
            continue
        mine = next((row for row in rows if row.candidate is best[0]), rows[0])
        decision = decided(way, mine, groups, fallback=fallback)
        choice.prompts[way] = PromptVariant.of(mine.variant if decision.answers == "adapter" else BASE)
        decisions.append(decision)
        choice.entries[way] = mine
        choice.table[way] = [_base_row(mine, groups), *(compared_row(row, BASE, groups) for row in rows)]
    if best is not None and any(choice.strength.values()):
        choice.prompt = best[0]
    regions = [
        Entry(c, _planned(s["region"], groups, first_plan), s["region"], steps)
        for c, steps, s in entries if "region" in s
    ]  # fmt: skip
    if regions:
        choice.region = simplest([one for one in regions if one.candidate.name not in dropped] or regions, groups)
        decisions.append(_region(choice.region, groups))
        choice.entries["region"] = choice.region
        choice.table["region"] = [compared_row(row, "0", groups) for row in regions]
    choice.decisions = tuple(decisions)
    return choice


def simplest(entries: Sequence[Entry], groups: Mapping[str, str]) -> Entry:
    """The simplest of the entries that no other is better than by more than the standard error."""
    ordered = sorted(entries, key=lambda one: one.candidate.rank)
    current = ordered[0]
    for one in ordered[1:]:
        if difference(one.scores, one.variant, current.scores, current.variant, groups).better:
            current = one
    return current


def survivors(
    entries: Sequence[tuple[Candidate, int, Mapping[str, Scores]]], groups: Mapping[str, str], first_plan: int = 0
) -> list[Candidate]:
    """Candidates that, in one of their ways of use, are not worse by more than the standard error than the best, or
    than the base model. One whose fits are complete does not drop those that more steps still make better.
    """
    kept: list[Candidate] = []
    for way in (*PROMPTED, "region"):
        rows = [
            Entry(c, variant_of(way, s[way], groups, first_plan), s[way], steps) for c, steps, s in entries if way in s
        ]
        if not rows:
            continue
        growing = [row for row in rows if row.steps < row.candidate.steps]
        best = max(growing or rows, key=lambda row: row.mean)
        for row in rows:
            worse = difference(row.scores, row.variant, best.scores, best.variant, groups).worse
            worse |= way in PROMPTED and difference(row.scores, row.variant, row.scores, BASE, groups).worse
            if row.candidate not in kept and not worse:
                kept.append(row.candidate)
    return kept


def variant_of(way: str, scores: Scores, groups: Mapping[str, str], first_plan: int = 0) -> str:
    """The variant that a candidate is judged by: a strength above 0, or a `RegionVariant`."""
    return _planned(scores, groups, first_plan) if way == "region" else _strength(scores)


def _strength(scores: Scores) -> str:
    """The best strength above 0; full strength unless another one gains enough."""
    strengths = [name for name in scores.values if name != BASE]
    full, best = strengths[0], max(strengths, key=scores.mean)
    return best if scores.mean(best) >= scores.mean(full) + GAIN else full


def untiled(scores: Scores, groups: Mapping[str, str]) -> str:
    """The variant of the whole image alone."""
    return _with_offset(scores, 0, groups)


def _planned(scores: Scores, groups: Mapping[str, str], first: int) -> str:
    """The best plan of tiled inference, each with its offset; the others must be better than the first one."""
    plans = {RegionVariant.of(name).plan for name in scores.values}
    first = first if first in plans else 0
    others = [_with_offset(scores, plan, groups) for plan in sorted(plans - {first})]
    return better_variant(scores, _with_offset(scores, first, groups), others, groups, GAIN)


def _with_offset(scores: Scores, plan: int, groups: Mapping[str, str]) -> str:
    """A plan with its best offset; without one unless that gains much: the fits that are scored are shorter than the
    one on all images, and with fewer steps a map is more cautious.
    """
    others = [name for name in scores.values if RegionVariant.of(name).plan == plan]
    return better_variant(scores, RegionVariant(plan).name, others, groups, _OFFSET_GAIN)


def better_variant(
    scores: Scores, name: str, others: Sequence[str], groups: Mapping[str, str], least: float = GAIN
) -> str:
    """The best of other variants that are better by `least` and by more than the standard error; else `name`."""
    changes = {one: difference(scores, one, scores, name, groups) for one in others if one != name}
    sound = [one for one, change in changes.items() if change.better and change.mean >= least]
    return max(sound, key=scores.mean, default=name)


def _gain(scores: Mapping[str, Scores], groups: Mapping[str, str]) -> float:
    """Mean gain over the base model in clicks and boxes, where it is more than the standard error."""
    gains = []
    for way in PROMPTED:
        if way in scores:
            change = difference(scores[way], _strength(scores[way]), scores[way], BASE, groups)
            gains.append(change.mean if change.better else min(change.mean, 0.0) * 1e-3)
    return sum(gains)


def decided(way: str, one: Entry, groups: Mapping[str, str], *, fallback: bool = True) -> Decision:
    """The decision of the gate about the variant of an entry, against the base model.

    Args:
        way: "click" or "box".
        one: with the scores of the base model among its variants.
        groups: group of each image.
        fallback: as of `choose`.
    """
    images = tuple(one.scores.images)
    names = tuple(groups.get(id, id) for id in images)
    new, base = (tuple(one.scores.values[variant]) for variant in (one.variant, BASE))
    decision = decide(Judged(way, images, names, new, base, part=PART))
    return decision if fallback or decision.answers == "adapter" else replace(decision, answers="adapter")


def _region(one: Entry, groups: Mapping[str, str]) -> Decision:
    images = tuple(one.scores.images)
    names = tuple(groups.get(id, id) for id in images)
    new = tuple(one.scores.values[one.variant])
    return decide(Judged("region", images, names, new, None, one.scores.objects, "Dice", PART))


def _base_row(one: Entry, groups: Mapping[str, str]) -> dict[str, Any]:
    names = [groups.get(id, id) for id in one.scores.images]
    mean, low, high = metrics.bootstrap(one.scores.values[BASE], names)
    return {"candidate": "base", "variant": BASE, "steps": 0, "mean": mean, "interval": _bounds(low, high)}


def compared_row(one: Entry, reference: str, groups: Mapping[str, str]) -> dict[str, Any]:
    """A row of plan.json: the mean of each variant, and the difference to a reference variant of the same scores."""
    names = [groups.get(id, id) for id in one.scores.images]
    mean, low, high = metrics.bootstrap(one.scores.values[one.variant], names)
    change = difference(one.scores, one.variant, one.scores, reference, groups)
    return {
        "candidate": one.candidate.name,
        "variant": one.variant,
        "steps": one.steps,
        "mean": mean,
        "interval": _bounds(low, high),
        "difference": change.mean,
        "error": change.error,
        "variants": {name: one.scores.mean(name) for name in one.scores.values},
    }


def _bounds(low: float, high: float) -> list[float] | None:
    return None if math.isnan(low) else [low, high]


__all__ = [
    "GAIN",
    "PART",
    "PROMPTED",
    "Choice",
    "Entry",
    "better_variant",
    "choose",
    "compared_row",
    "decided",
    "simplest",
    "survivors",
    "untiled",
    "variant_of",
]
