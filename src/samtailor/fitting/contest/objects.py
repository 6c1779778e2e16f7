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
from samtailor.structures import NOTHING, Annotation, Postprocess, Sample

Masks = Mapping[str, Sequence[dict[str, Any]]]
"""Image to the run-length encoded masks of its objects."""
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
                truths = [one.rle for one in sample.of(classes)]
                scores.images.append(sample.id)
                scores.matched.append(_matched(masks[sample.id], truths))
                scores.predicted.append(len(masks[sample.id]))
                scores.annotated.append(len(truths))
        return scores

    def only(self, images: Collection[str]) -> ObjectScores:
        """The scores of some images, in the same order."""
        rows = [row for row, id in enumerate(self.images) if id in images]
        matched, predicted, annotated = (
            [column[row] for row in rows] for column in (self.matched, self.predicted, self.annotated)
        )
        return ObjectScores([self.images[row] for row in rows], matched, predicted, annotated)

    @property
    def f1(self) -> list[float]:
        """F1 of each image, in [0, 1]; 1 where there is no object and no prediction."""
        rows = zip(self.matched, self.predicted, self.annotated, strict=True)
        return [_f1(*row) for row in rows]

    @property
    def mean(self) -> float:
        """Mean F1 over images."""
        return float(np.mean(self.f1))

    def to_json(self) -> dict[str, float]:
        """As plain values.

        Returns:
            "f1": mean over images; "precision" and "recall" of all objects together (0 without a prediction);
            "count_error": mean absolute error of the number of objects; "objects": mean number of objects.
        """
        error = np.abs(np.subtract(self.predicted, self.annotated)).mean()
        right = sum(self.matched)
        return {
            "f1": self.mean,
            "precision": right / max(sum(self.predicted), 1),
            "recall": right / max(sum(self.annotated), 1),
            "count_error": float(error),
            "objects": float(np.mean(self.annotated)),
        }

    def over(self, other: ObjectScores, groups: Mapping[str, str]) -> Difference:
        """F1 minus that of other predictions for the same images, paired by image."""
        return Difference.of(self.f1, other.f1, [groups.get(id, id) for id in self.images], sum(self.annotated))


def parts_of(entry: Entry, smallest: float, how: Postprocess = NOTHING) -> Masks:
    """The connected parts of a region in each image, as automatic mode returns them.

    Args:
        entry: the chosen region, with its out-of-fold predictions.
        smallest: parts of a smaller share of the image are left out.
        how: postprocessing of the region.
    """
    masks = {}
    for id, rle in zip(entry.scores.images, entry.scores.masks[entry.variant], strict=True):
        mask = postprocessed(Annotation("", rle).mask, how)
        least = max(16, round(smallest * mask.size))
        masks[id] = [encode(part) for part in connected(mask) if np.count_nonzero(part) >= least]
    return masks


def objects_of_parts(
    entry: Entry, samples: Sequence[Sample], classes: tuple[str, ...], smallest: float, how: Postprocess = NOTHING
) -> dict[str, float] | None:
    """Agreement of the connected parts of a region with the annotated objects; None with one object per image.

    Args:
        entry, smallest, how: see `parts_of`.
        samples: training images.
        classes: of the objects.

    Returns:
        see `ObjectScores.to_json`.
    """
    scores = ObjectScores.of(parts_of(entry, smallest, how), samples, classes)
    return scores.to_json() if any(count > 1 for count in scores.annotated) else None


def f1_of(predicted: Sequence[dict[str, Any]], truths: Sequence[dict[str, Any]]) -> float:
    """F1 of the objects of one image, in [0, 1]."""
    return _f1(_matched(predicted, truths), len(predicted), len(truths))


def _f1(matched: int, predicted: int, annotated: int) -> float:
    return 2 * matched / (predicted + annotated) if predicted + annotated else 1.0


def _matched(predicted: Sequence[dict[str, Any]], truths: Sequence[dict[str, Any]]) -> int:
    """Number of objects that a prediction covers; with an IoU above 0.5, no prediction covers two of them."""
    from pycocotools import mask as coco

    if not predicted or not truths:
        return 0
    table = coco.iou(list(predicted), list(truths), [0] * len(truths))
    return int((table > _IOU).any(axis=0).sum())


__all__ = ["Masks", "ObjectScores", "f1_of", "objects_of_parts", "parts_of"]
