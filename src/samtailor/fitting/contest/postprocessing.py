"""Postprocessing of the region, selected on out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from samtailor.data.regions import foreground
from samtailor.fitting.contest.choice import Entry
from samtailor.fitting.select_postprocess import choose_postprocess
from samtailor.structures import NOTHING, Annotation, InferenceSpec, Postprocess, Sample

WAY = "region"


def chosen_postprocess(
    entry: Entry, samples: Sequence[Sample], classes: tuple[str, ...], groups: Mapping[str, str], seed: int
) -> tuple[Postprocess, dict[str, Any]]:
    """The postprocessing of a region, and the evidence for it as plain values.

    Args:
        entry: the chosen region, with its out-of-fold predictions.
        samples: training images.
        classes: of the region.
        groups: group of each image.
        seed: of the contest.
    """
    regions = {sample.id: sample for sample in foreground(samples, classes)}
    predictions = [Annotation("", rle) for rle in entry.scores.masks[entry.variant]]
    truths = [regions[id].annotations[0] for id in entry.scores.images]
    names = [groups.get(id, id) for id in entry.scores.images]
    how, evidence = choose_postprocess(predictions, truths, names, way=WAY, seed=seed)
    return how, evidence.to_json()


def with_postprocess(spec: InferenceSpec, how: Postprocess) -> InferenceSpec:
    """The inference settings with a postprocessing of the region."""
    others = {way: one for way, one in spec.postprocess.items() if way != WAY}
    return replace(spec, postprocess=others if how == NOTHING else {**others, WAY: how})


__all__ = ["chosen_postprocess", "with_postprocess"]
