"""How well predictions without a prompt are the single objects, where images have several."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from samtailor.fitting.contest.choice import Entry
from samtailor.fitting.gate import Difference
from samtailor.masks.contours import connected
from samtailor.masks.postprocess import postprocessed
from samtailor.masks.rle import encode
from samtailor.predict.auto import part_score
from samtailor.structures import NOTHING, Annotation, Postprocess, Sample

Masks = Mapping[str, Sequence[dict[str, Any]]]
"""Image to the run-length encoded masks of its objects."""
Scored = tuple[float, dict[str, Any]]
"""Score of an object, in [0, 1], and its run-length encoded mask."""
ScoredMasks = Mapping[str, Sequence[Scored]]
"""Image to its objects with their scores."""
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(19))
"""Lowest scores to compare. Scores are probabilities."""
_FLAT = 0.02  # of F1; a higher threshold that gains less only misses more objects, and so miscounts
_IOU = 0.5  # above which a prediction is the object


@dataclass
class ObjectScores:
    """Predicted against annotated objects, by image.

    Args:
        images: ids.
        matched: number of objects that a prediction covers with an IoU above 0.5.
        predicted, annotated: number of predictions and of objects.
    """

    images: list[str] = field(default_factory=list)
    matched: list[int] = field(default_factory=list)
    predicted: list[int] = field(default_factory=list)
    annotated: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, masks: Masks, samples: Sequence[Sample], classes: tuple[str, ...]) -> ObjectScores:
        """Scores of the images that have an entry in `masks`, in the order of the samples."""
        scores = cls()
        for sample in samples:
            if sample.id in masks:
                scores.add(sample.id, masks[sample.id], [one.rle for one in sample.of(classes)])
        return scores

    def add(self, id: str, masks: Sequence[dict[str, Any]], truths: Sequence[dict[str, Any]]) -> None:
        """Count the objects of one more image."""
        self.images.append(id)
        self.matched.append(_matched(masks, truths))
        self.predicted.append(len(masks))
        self.annotated.append(len(truths))

    def only(self, images: Collection[str]) -> ObjectScores:
        """The scores of some images, in the same order."""
        rows = [row for row, id in enumerate(self.images) if id in images]
        matched, predicted, annotated = (
            [column[row] for row in rows] for column in (self.matched, self.predicted, self.annotated)
        )
        return ObjectScores([self.images[row] for row in rows], matched, predicted, annotated)

    @property
    def f1(self) -> float:
        """F1 of all objects together, in [0, 1]; 1 without an object and a prediction."""
        total = sum(self.predicted) + sum(self.annotated)
        return 2 * sum(self.matched) / total if total else 1.0

    @property
    def by_image(self) -> list[float]:
        """One value for each image, whose mean is `f1` and whose spread is that of `f1` over samples of images.

        F1 is the ratio of two sums over images, which is linearized (Taylor expansion). A mean of the F1 of single
        images would give an image of three objects the weight of one of a hundred.
        """
        total = np.add(self.predicted, self.annotated)
        if not total.any():
            return [1.0] * len(self.images)
        return (self.f1 + (2 * np.array(self.matched) - self.f1 * total) / total.mean()).tolist()

    def to_json(self) -> dict[str, float]:
        """As plain values.

        Returns:
            "f1", "precision" (0 without a prediction) and "recall" of all objects together;
            "count_error": mean absolute error of the number of objects; "objects": mean number of objects;
            "empty_images", "empty_right": number of images without an object, where there are any, and of those without
            a prediction.
        """
        error = np.abs(np.subtract(self.predicted, self.annotated)).mean()
        right = sum(self.matched)
        return {
            "f1": self.f1,
            "precision": right / max(sum(self.predicted), 1),
            "recall": right / max(sum(self.annotated), 1),
            "count_error": float(error),
            "objects": float(np.mean(self.annotated)),
            **self._empty(),
        }

    def _empty(self) -> dict[str, float]:
        empty = [count for count, objects in zip(self.predicted, self.annotated, strict=True) if not objects]
        return {"empty_images": len(empty), "empty_right": empty.count(0)} if empty else {}

    def over(self, other: ObjectScores, groups: Mapping[str, str]) -> Difference:
        """F1 minus that of other predictions for the same images, with images as units."""
        return Difference.of(
            self.by_image, other.by_image, [groups.get(id, id) for id in self.images], sum(self.annotated)
        )


def parts_of(
    entry: Entry, smallest: float, how: Postprocess = NOTHING, *, whole: bool = False
) -> dict[str, list[Scored]]:
    """The connected parts of a region in each image with their scores, as automatic mode returns them.

    Args:
        entry: the chosen region, with its out-of-fold predictions.
        smallest: parts of a smaller share of the image are left out.
        how: postprocessing of the region.
        whole: the region is one object.
    """
    scores, made = entry.scores, {}
    rows = list(zip(scores.images, scores.masks[entry.variant], scores.parts[entry.variant], strict=True))
    rows += [(id, *one) for id, one in zip(scores.empty_images, scores.empty.get(entry.variant, ()), strict=True)]
    for id, rle, means in rows:
        predicted = Annotation("", rle).mask
        certain = np.zeros(predicted.shape)
        for part, mean in zip(connected(predicted), means, strict=True):
            certain[part] = mean
        mask = postprocessed(predicted, how)
        least = max(16, round(smallest * mask.size))
        made[id] = [
            (part_score(part, predicted, certain), encode(part))
            for part in ([mask] if whole else connected(mask))
            if np.count_nonzero(part) >= least
        ]
    return made


def kept(objects: Sequence[Scored], threshold: float) -> list[dict[str, Any]]:
    """Masks of the objects with at least a score."""
    return [rle for score, rle in objects if score >= threshold]


def cross_fitted(folds: Sequence[ScoredMasks], truths: Masks) -> tuple[Masks, float]:
    """Objects at the threshold of their fold, the lowest with about the best F1 on the images of the other folds, and
    that of all images.

    Args:
        folds: image to its scored objects, for each fold.
        truths: image to the masks of its annotated objects.
    """
    best = [_best_threshold([*folds[:number], *folds[number + 1 :]], truths) for number in range(len(folds))]
    masks = {id: kept(rows, least) for fold, least in zip(folds, best, strict=True) for id, rows in fold.items()}
    return masks, _best_threshold(folds, truths)


def _best_threshold(folds: Sequence[ScoredMasks], truths: Masks) -> float:
    def f1(threshold: float) -> float:
        scores = ObjectScores()
        for fold in folds:
            for id, rows in fold.items():
                scores.add(id, kept(rows, threshold), truths[id])
        return scores.f1

    scores = [f1(threshold) for threshold in THRESHOLDS]
    return next(one for one, score in zip(THRESHOLDS, scores, strict=True) if score >= max(scores) - _FLAT)


def _matched(predicted: Sequence[dict[str, Any]], truths: Sequence[dict[str, Any]]) -> int:
    """Number of objects that a prediction covers; with an IoU above 0.5, no prediction covers two of them."""
    from pycocotools import mask as coco

    if not predicted or not truths:
        return 0
    table = coco.iou(list(predicted), list(truths), [0] * len(truths))
    return int((table > _IOU).any(axis=0).sum())


__all__ = [
    "THRESHOLDS",
    "Masks",
    "ObjectScores",
    "Scored",
    "ScoredMasks",
    "cross_fitted",
    "kept",
    "parts_of",
]
