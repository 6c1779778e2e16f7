"""Calibration of the scores of proposals: Platt scaling, thresholds, and figures on images with and without objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from samtailor.masks.nms import box_iou
from samtailor.proposals import Proposals, Proposed, platt
from samtailor.structures import Annotation

_IOU = 0.5
ALARMS = 0.2
"""Fraction of the images without the object that may get a proposal, plus one standard error."""
_MAX_F1_LOSS = 0.25  # F1 that this limit may cost: one unlabeled object must not suppress all proposals of a class
_NEAR = 0.9  # of the best F1: the rest is noise, and scores are lower on new images than on those of the folds


@dataclass(frozen=True)
class Scene:
    """An image that the scored head was not trained on.

    Args:
        id: of the sample.
        raw: candidates, with their heat as score.
        truths: its true objects.
    """

    id: str
    raw: Proposed
    truths: tuple[Annotation, ...]

    def of(self, label: str) -> tuple[Proposed, list[Annotation]]:
        """Candidates and true objects of a class, candidates by decreasing heat."""
        rows = [i for i, name in enumerate(self.raw.labels) if name == label]
        rows.sort(key=lambda i: -self.raw.scores[i])
        part = Proposed(self.raw.boxes[rows], self.raw.points[rows], self.raw.scores[rows], (label,) * len(rows))
        return part, [a for a in self.truths if a.label == label]


def matched(proposed: Proposed, truths: Sequence[Annotation], give: str) -> np.ndarray:
    """Index of the true object of each proposal, -1 for none; by decreasing score, each object once.

    Args:
        proposed: N proposals of one class.
        truths: true objects of that class.
        give: "boxes": a match has a box IoU of at least 0.5. "points": the point lies on the mask.
    """
    taken: set[int] = set()
    matches = np.full(len(proposed), -1)
    true = np.array([a.box for a in truths], np.float32).reshape(-1, 4)
    masks: dict[int, np.ndarray] = {}
    for row in range(len(proposed)):
        for k in _candidates(proposed, row, true, give):
            if k in taken:
                continue
            if give == "points" and not _on(masks.setdefault(k, truths[k].mask), proposed.points[row]):
                continue
            matches[row] = k
            taken.add(k)
            break
    return matches


def calibrate(
    scenes: Sequence[Scene], classes: Sequence[str], give: str
) -> tuple[dict[str, tuple[float, float]], dict[str, float]]:
    """Slope and offset of each class, and its threshold.

    The threshold is the lowest with nearly the best F1 over all images, among those that reject enough of the images
    without the object (`ALARMS`): with many objects, F1 alone would accept nearly every empty image. If that costs more
    than 0.25 of F1, it is the highest threshold that costs as much.
    """
    slopes, thresholds = {}, {}
    for label in classes:
        heat, right, total = _pooled(scenes, label, give)
        slopes[label] = fit_platt(heat, right)
        scores = np.array([platt(float(h), *slopes[label]) for h in heat])
        strongest = [max(rows.scores, default=0.0) for rows, truths in (s.of(label) for s in scenes) if not truths]
        rejected = sorted((platt(float(h), *slopes[label]) for h in strongest), reverse=True)
        allowed = round(ALARMS * len(rejected) + (ALARMS * (1 - ALARMS) * len(rejected)) ** 0.5)
        least = rejected[allowed] if allowed < len(rejected) else 0.0
        thresholds[label] = _best_threshold(scores, right, total, least)
    return slopes, thresholds


def measure(scenes: Sequence[Scene], proposals: Proposals) -> dict[str, Any]:
    """Figures by class at the thresholds of the proposals.

    Returns:
        for each class `objects`, `images`, `negatives` (images without it); `recall_boxes` (IoU >= 0.5),
        `recall_points` and `precision_points` (point on an object, each object once), `points_on_object` (fraction of
        the proposals whose point is on any object of the class), `false_positives_per_image` (points that match no
        object), and `false_positive_rate`: the fraction of negatives with a proposal, None without negatives.
    """
    return {label: _figures(scenes, proposals, label) for label in proposals.classes}


def fit_platt(heat: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Slope and offset of sigmoid(slope * logit(heat) + offset), by Newton's method, with Platt's smoothed targets.

    A weak prior keeps it near (1, 0) with few or one-sided scores. The slope is always positive, so that the score
    increases with the heat.
    """
    if not len(heat):
        return 1.0, 0.0
    clipped = np.clip(heat.astype(np.float64), 1e-6, 1 - 1e-6)
    x = np.stack([np.log(clipped / (1 - clipped)), np.ones(len(heat))], 1)
    positives = float(right.sum())
    y = np.where(right, (positives + 1) / (positives + 2), 1 / (len(right) - positives + 2))
    start = np.array([1.0, 0.0])
    weights, prior = start.copy(), 0.1
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(x @ weights, -50, 50)))
        slope = x.T @ (chance - y) + prior * (weights - start)
        bend = (x * (chance * (1 - chance))[:, None]).T @ x + prior * np.eye(2)
        step = np.linalg.solve(bend, slope)
        weights = weights - step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return max(float(weights[0]), 0.05), float(weights[1])


def _pooled(scenes: Sequence[Scene], label: str, give: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Heat of all candidates, whether each is correct, and the number of objects."""
    heat, right, total = [np.zeros(0)], [np.zeros(0, bool)], 0
    for scene in scenes:
        candidates, truths = scene.of(label)
        heat.append(candidates.scores)
        right.append(matched(candidates, truths, give) >= 0)
        total += len(truths)
    return np.concatenate(heat), np.concatenate(right), total


def _best_threshold(scores: np.ndarray, right: np.ndarray, total: int, least: float) -> float:
    """Midpoint of the lowest accepted score and the next lower one; above `least` unless that costs too much F1."""
    order = np.argsort(-scores, kind="stable")
    f1 = 2 * np.cumsum(right[order]) / (np.arange(1, len(order) + 1) + max(total, 1))
    above = np.where(scores[order] > least, f1, 0.0)
    highest, reached = float(f1.max(initial=0.0)), float(above.max(initial=0.0))
    if highest - reached > _MAX_F1_LOSS:
        last, least = int(np.argmax(f1 >= highest - _MAX_F1_LOSS)), 0.0
    elif reached:
        last = int(np.flatnonzero(above >= _NEAR * reached)[-1])
    else:
        return min((least + 1) / 2, 1.0) if least else 0.5
    kept = float(scores[order[last]])
    below = max(float(scores[order[last + 1]]) if last + 1 < len(order) else 0.0, least)
    return math.floor((kept + below) / 2 * 1e4) / 1e4 if kept - below > 1e-4 else kept


def _figures(scenes: Sequence[Scene], proposals: Proposals, label: str) -> dict[str, Any]:
    objects = boxes = points = on = proposed = negatives = alarms = 0
    for scene in scenes:
        raw, truths = scene.of(label)
        slope = proposals.calibration[label]
        rows = [i for i, h in enumerate(raw.scores) if platt(float(h), *slope) >= proposals.thresholds[label]]
        accepted = Proposed(raw.boxes[rows], raw.points[rows], raw.scores[rows], (label,) * len(rows))
        objects, proposed = objects + len(truths), proposed + len(accepted)
        boxes += int((matched(accepted, truths, "boxes") >= 0).sum())
        points += int((matched(accepted, truths, "points") >= 0).sum())
        masks = [a.mask for a in truths] if len(accepted) else []
        on += sum(any(_on(mask, point) for mask in masks) for point in accepted.points)
        negatives += not truths
        alarms += not truths and len(accepted) > 0
    return {
        "objects": objects,
        "images": len(scenes),
        "negatives": negatives,
        "proposed": proposed,
        "recall_boxes": boxes / objects if objects else None,
        "recall_points": points / objects if objects else None,
        "precision_points": points / proposed if proposed else None,
        "points_on_object": on / proposed if proposed else None,
        "false_positives_per_image": (proposed - points) / len(scenes) if scenes else None,
        "false_positive_rate": alarms / negatives if negatives else None,
    }


def _candidates(proposed: Proposed, row: int, true: np.ndarray, give: str) -> list[int]:
    """True objects that a proposal may match, by decreasing IoU."""
    if not len(true):
        return []
    overlap = box_iou(proposed.boxes[row], true)
    if give == "boxes":
        return [int(k) for k in np.argsort(-overlap, kind="stable") if overlap[k] >= _IOU]
    x, y = proposed.points[row]
    within = (true[:, 0] <= x + 0.5) & (x + 0.5 < true[:, 2]) & (true[:, 1] <= y + 0.5) & (y + 0.5 < true[:, 3])
    return [int(k) for k in np.argsort(-overlap, kind="stable") if within[k]]


def _on(mask: np.ndarray, point: np.ndarray) -> bool:
    column, row = (int(v + 0.5) for v in point)
    return 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1] and bool(mask[row, column])


__all__ = ["Scene", "calibrate", "fit_platt", "matched", "measure"]
