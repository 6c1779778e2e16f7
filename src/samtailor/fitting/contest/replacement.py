"""Compare the result of a contest with the adapter in use, on training images that are new to both.

A contest has out-of-fold scores of its training images, so images that the present adapter was not fitted on are new
to both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from samtailor.fitting.contest.choice import PROMPTED, Choice
from samtailor.fitting.contest.scoring import BASE, SOURCES, Scores
from samtailor.fitting.gate import Decision, Gate, against_present, compared
from samtailor.fitting.interpolate import MASKS
from samtailor.fitting.judge import Present
from samtailor.fitting.select_inference import region_dice
from samtailor.registry import find
from samtailor.train.feed import Feed
from samtailor.train.validate import validate

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.structures import Sample


def gate_with_present(
    choice: Choice,
    present: Present,
    folds: Sequence[Sequence[Sample]],
    classes: tuple[str, ...],
    base: Base,
    store: EmbeddingCache,
    groups: Mapping[str, str],
    *,
    seed: int,
) -> Gate:
    """All decisions, and whether the new adapter replaces the present one.

    Args:
        choice: of the contest.
        present: the adapter in use.
        folds: training images by fold, in the order in which they were scored.
        classes, base, store, seed: of the contest.
        groups: group of each image.
    """
    images = sum(len(fold) for fold in folds)
    if present.why:
        lost = sorted(set(present.classes) - set(classes))
        missing = f", and the new one does not segment {', '.join(lost)}" if lost else ""
        return Gate(choice.decisions, not lost, f"the two cannot be compared, since {present.why}{missing}")
    decisions = [_with_present(one, choice, present, folds, classes, base, store, groups, seed)
                 for one in choice.decisions]  # fmt: skip
    return compared(decisions, images=images, images_of_present=len(present.learnt_from))


def _with_present(
    decision: Decision,
    choice: Choice,
    present: Present,
    folds: Sequence[Sequence[Sample]],
    classes: tuple[str, ...],
    base: Base,
    store: EmbeddingCache,
    groups: Mapping[str, str],
    seed: int,
) -> Decision:
    entry = choice.entries.get(decision.way)
    if entry is None or present.segmenter is None:
        return decision
    scores: Scores = entry.scores
    rows = [row for row, id in enumerate(scores.images) if id not in present.learnt_from]
    new = [scores.images[row] for row in rows]
    objects = None
    if decision.way in PROMPTED:  # of all images, so that the prompts are those of the contest
        every = [one for fold in folds for one in _prompted(present, fold, classes, base, store, decision.way, seed)]
        theirs = [every[row] for row in rows]
    elif present.segmenter.promptless and present.segmenter.maps:
        known = {sample.id: sample for fold in folds for sample in fold}
        theirs = [region_dice(present.segmenter, known[id], classes, store) for id in new]
        objects = sum(len(known[id].of(classes)) for id in new)
    else:
        return decision
    ours = scores.values[BASE if decision.answers == "base" else entry.variant]
    return against_present(decision, [ours[row] for row in rows], theirs, [groups.get(id, id) for id in new], objects)


def _prompted(
    present: Present,
    samples: Sequence[Sample],
    classes: tuple[str, ...],
    base: Base,
    store: EmbeddingCache,
    way: str,
    seed: int,
) -> list[float]:
    """Scores of the present adapter as it is used, on the objects of `scoring.prompted_scores`."""
    segmenter = present.segmenter
    if segmenter is None:
        return []
    source = find("prompts", SOURCES[way]).build()
    feed = Feed(base, samples, classes, store, source=source, batch_size=8, seed=seed, companions=segmenter.companions)
    return list(validate(segmenter, feed, MASKS, next(base.model.parameters()).device).ious)


__all__ = ["gate_with_present"]
