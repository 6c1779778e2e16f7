"""Scores of a baseline, in the rows that `evaluation.masks` gives for SAM methods on `data.regions`."""

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
"""In the place of a prompt source: a baseline is asked for classes, not for a place."""


def evaluate_baseline(
    baseline: Baseline,
    samples: Sequence[Sample],
    classes: Sequence[str] | None = None,
    seed: int = 0,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """One row an image and class, in the order and with the ids, labels and indices of `evaluate_many` on `regions`.

    There is one answer, so the oracle's figures are the same as the others. Its predicted IoU is the IoU that its own
    probabilities p = sigmoid(value) expect: sum of p inside over (area of the mask + sum of p outside).

    Args:
        baseline: fitted.
        samples: held-out images.
        classes: only these; None: all that the baseline was fitted to.
        seed: of the bootstrap.
        progress: called with (images done, images in all).

    Raises:
        InputError: a class that the baseline does not know, or no mask at all to evaluate.
    """
    wanted = tuple(baseline.classes if classes is None else classes)
    strange = [name for name in wanted if name not in baseline.classes]
    if strange:
        raise InputError(
            f"{baseline.name!r} was fitted to {', '.join(baseline.classes) or 'nothing'}, not {strange[0]!r}."
        )
    rows: list[Score] = []
    for done, sample in enumerate(regions(samples, wanted)):
        targets = sample.of(wanted)
        if targets:
            values = baseline.segment(sample.image).numpy()
            answers = [values[baseline.classes.index(target.label)] for target in targets]
            rows += [_row(sample, i, *pair) for i, pair in enumerate(zip(targets, answers, strict=True))]
        if progress:
            progress(done + 1, len(samples))
    if not rows:
        raise InputError(
            f"There is no mask to evaluate: {len(samples)} images, none has a mask of {', '.join(wanted)}."
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
