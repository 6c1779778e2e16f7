"""Metrics of masks that are given as windows of an image, which is much faster for many small objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samtailor.masks.postprocess import Window

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU thresholds that `mean_f1` is the mean over."""


def common(one: Window, other: Window) -> int:
    """Pixels that two masks have in common."""
    (a, ax, ay), (b, bx, by) = one, other
    x0, y0 = max(ax, bx), max(ay, by)
    x1, y1 = min(ax + a.shape[1], bx + b.shape[1]), min(ay + a.shape[0], by + b.shape[0])
    if x1 <= x0 or y1 <= y0:
        return 0
    return int(np.count_nonzero(a[y0 - ay : y1 - ay, x0 - ax : x1 - ax] & b[y0 - by : y1 - by, x0 - bx : x1 - bx]))


def dice(mask: Window, true: Window) -> float:
    """Dice score in [0, 1]; 1 for two empty masks."""
    total = np.count_nonzero(mask[0]) + np.count_nonzero(true[0])
    return 2 * common(mask, true) / total if total else 1.0


def iou(mask: Window, true: Window) -> float:
    """Intersection over union in [0, 1]; 1 for two empty masks."""
    both = common(mask, true)
    union = np.count_nonzero(mask[0]) + np.count_nonzero(true[0]) - both
    return both / union if union else 1.0


def mean_f1(predictions: Sequence[Window], truths: Sequence[Window]) -> float:
    """F1 of the objects of an image, mean over `THRESHOLDS`; 1 where there is nothing and nothing is predicted.

    Args:
        predictions: sorted by falling rank; each takes the free object of highest IoU. Empty masks do not count.
        truths: true objects.
    """
    predictions = [one for one in predictions if one[0].any()]
    if not predictions or not truths:
        return float(not predictions and not truths)
    table = np.array([[iou(one, true) for true in truths] for one in predictions])
    scores = []
    for threshold in THRESHOLDS:
        free, right = np.ones(len(truths), bool), 0
        for row in table:
            best = int(np.where(free, row, -1.0).argmax())
            if free[best] and row[best] >= threshold:
                free[best] = False
                right += 1
        scores.append(2 * right / (len(predictions) + len(truths)))
    return float(np.mean(scores))


__all__ = ["THRESHOLDS", "common", "dice", "iou", "mean_f1"]
