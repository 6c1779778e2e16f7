"""Scores of a baseline, in the same rows as those of SAM methods on `data.regions`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from samtailor.compare.baselines import Baseline
from samtailor.data.regions import regions
from samtailor.errors import InputError
from samtailor.evaluation.scores import Evaluation
from samtailor.masks import metrics
from samtailor.structures import Annotation, Sample, Score

PROMPT = "none"
"""Prompt name in the evaluation: a baseline has no prompt."""


def evaluate_baseline(
    baseline: Baseline,
    samples: Sequence[Sample],
    classes: Sequence[str] | None = None,
    seed: int = 0,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """One row per image and class, in the order and with the ids, labels and indices of `evaluate_many` on `regions`.

    A baseline predicts one mask, so the oracle figures equal the others. The predicted IoU is the expected IoU under
    its probabilities p = sigmoid(value): sum of p inside over (area of the mask + sum of p outside).

    Args:
        baseline: a fitted baseline.
        samples: held-out images.
        classes: classes to evaluate; None: all classes of the baseline.
        seed: seed of the bootstrap.
        progress: called with (images done, all images).

    Raises:
        InputError: a class that the baseline was not fitted to, or no mask to evaluate.
    """
    wanted = tuple(baseline.classes if classes is None else classes)
    unknown = [name for name in wanted if name not in baseline.classes]
    if unknown:
        raise InputError(
            f"{baseline.name!r} was fitted to {', '.join(baseline.classes) or 'nothing'}, not {unknown[0]!r}."
        )
    rows: list[Score] = []
    for done, sample in enumerate(regions(samples, wanted)):
        targets = sample.of(wanted)
        if targets:
            values = baseline.segment(sample.image).numpy()
            for index, target in enumerate(targets):
                rows.append(_row(sample, index, target, values[baseline.classes.index(target.label)]))
        if progress:
            progress(done + 1, len(samples))
    if not rows:
        raise InputError(
            f"There is no mask to evaluate: none of {len(samples)} images has a mask of {', '.join(wanted)}."
        )
    return Evaluation(tuple(rows), PROMPT, seed)


def _row(sample: Sample, index: int, target: Annotation, values: np.ndarray) -> Score:
    mask, truth = values > 0, target.mask
    iou, dice = float(metrics.iou(mask, truth)), float(metrics.dice(mask, truth))
    return Score(
        id=sample.id,
        label=target.label,
        index=index,
        iou=iou,
        oracle_iou=iou,
        dice=dice,
        oracle_dice=dice,
        boundary_iou=float(metrics.boundary_iou(mask, truth)),
        predicted_iou=_expected_iou(mask, values),
        area=target.area,
        group=sample.group or sample.id,
        paper_dice=float(metrics.paper_dice(mask, truth)),
    )


def _expected_iou(mask: np.ndarray, values: np.ndarray) -> float:
    p = 0.5 * (1 + np.tanh(0.5 * values.astype(np.float64)))  # the sigmoid, without overflow
    return float(p[mask].sum() / (mask.sum() + p[~mask].sum())) if mask.any() else 0.0


__all__ = ["PROMPT", "evaluate_baseline"]
