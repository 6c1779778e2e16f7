"""Whether the region map, and the limit of a box, make the masks of clicks and boxes better.

The map segments the class, and the decoder the object of the prompt. Their logits are added
(`InferenceSpec.map_weight`), with and without the prompt adapter. Nothing is trained for it: the fits of the folds are
scored together on the images that neither has learnt from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samtailor.fitting.contest.assemble import assembled
from samtailor.fitting.contest.choice import PROMPTED, Entry, better_variant, compared_row, decided
from samtailor.fitting.contest.cross_validation import joined
from samtailor.fitting.contest.jobs import Fitted
from samtailor.fitting.contest.prompt_variant import MARGIN, WEIGHTS, PromptVariant
from samtailor.fitting.contest.running import run_jobs
from samtailor.fitting.contest.scoring import BASE, Scores, prompted_scores
from samtailor.fitting.pool import Context
from samtailor.structures import WAYS, TilingPlan

if TYPE_CHECKING:
    from samtailor.fitting.contest.state import ContestState
    from samtailor.structures import Sample

_BATCH = 8


@dataclass(frozen=True)
class Combination:
    """Score the fits of one fold together.

    Args:
        samples: images that neither has learnt from.
        classes: of the objects.
        region: folder of the fit with the map; None: there is no map.
        offset: of the map.
        prompt: folder of the prompt adapter; None: the base model alone.
        strengths: way to the strengths of the prompt adapter, 0 included.
        seed: of the choice of objects, as of `scoring.prompted_scores`.
    """

    samples: Sequence[Sample]
    classes: tuple[str, ...]
    region: Path | None
    offset: float
    prompt: Path | None
    strengths: Mapping[str, tuple[float, ...]]
    seed: int


def score_combinations(context: Context, job: Combination) -> Fitted:
    """Scores of all variants (`prompt_variant`) by way of use."""
    base = context.base
    segmenter, _ = assembled(base, job.region, job.prompt, variants={}, tiling=TilingPlan(), offset=job.offset)
    with_map = bool(segmenter.maps)
    scores = {
        way: prompted_scores(
            segmenter, job.samples, job.classes, context.store, way,
            variants=variants_of(way, strengths, with_map), seed=job.seed,
        )
        for way, strengths in job.strengths.items()
    }  # fmt: skip
    return Fitted(job.region or job.prompt or Path(), scores)


def variants_of(way: str, strengths: Sequence[float], with_map: bool) -> list[PromptVariant]:
    """Variants to compare: each strength with each weight of the map, boxes with and without their limit."""
    return [
        PromptVariant(strength, weight, margin)
        for strength in strengths
        for weight in (WEIGHTS if with_map else WEIGHTS[:1])
        for margin in ((None, MARGIN) if way == "box" else (None,))
    ]


def compare_prompts(contest: ContestState) -> None:
    """Compare all variants on the folds, and put the best one of each way of use into the choice of the contest."""
    choice = contest.choice
    learned = next((one for way in PROMPTED if (one := choice.entries.get(way)) is not None), None)
    if not contest.folds or (choice.region is None and learned is None):
        return
    strengths = {
        way: (0.0,) if way not in choice.entries else (0.0, PromptVariant.of(choice.entries[way].variant).strength)
        for way in PROMPTED
    }
    known = {sample.id: sample for sample in contest.train}
    jobs = []
    for number, fold in enumerate(contest.folds):
        region, prompt = (
            None if one is None else contest.fold_folder(one.candidate, one.steps, number)
            for one in (choice.region, learned)
        )  # fmt: skip
        samples, offset = [known[id] for id in fold], contest.variant.offset
        jobs.append(Combination(samples, contest.classes, region, offset, prompt, strengths, contest.config.seed))
    scores = joined(run_jobs(contest, score_combinations, jobs))
    for way in PROMPTED:
        _choose(contest, way, scores[way], learned)
    choice.prompt = learned.candidate if learned is not None and any(choice.strength.values()) else None


def _choose(contest: ContestState, way: str, scores: Scores, learned: Entry | None) -> None:
    """The best variant of one way of use: without the prompt adapter, unless it adds enough."""
    choice, groups = contest.choice, contest.groups
    alone = [name for name in scores.values if not PromptVariant.of(name).strength]
    before = BASE if contest.config.fallback or way not in choice.entries else choice.entries[way].variant
    name = better_variant(scores, before, alone, groups)
    name = better_variant(scores, name, [one for one in scores.values if one not in alone], groups)
    variant = PromptVariant.of(name)
    if name == before or not str(variant):  # the prompt adapter alone has been judged already
        return
    part = learned if variant.strength or choice.region is None else choice.region
    if part is None:
        return
    entry = Entry(part.candidate, name, scores, part.steps)
    decision = decided(way, entry, groups, fallback=contest.config.fallback)
    if decision.answers == "base":
        return
    title = " with ".join([part.candidate.title if variant.strength else "base model", *filter(None, [str(variant)])])
    choice.prompts[way], choice.entries[way] = variant, entry
    decisions = {one.way: one for one in choice.decisions} | {way: decision}
    choice.decisions = tuple(decisions[one] for one in WAYS if one in decisions)
    choice.table.setdefault(way, []).append(compared_row(entry, BASE, groups) | {"title": title})


__all__ = ["Combination", "compare_prompts", "score_combinations", "variants_of"]
