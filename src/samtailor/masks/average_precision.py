"""Mask AP as defined by COCO: pycocotools matches predictions with true objects, precision is read at 101 recalls.

pycocotools averages over a whole data set only, but a bootstrap interval needs many resampled data sets. So its
matching (`COCOeval.evaluate`: per image and class, by falling score, each object once, crowds ignored) runs once, and
the averaging (`COCOeval.accumulate`) is reimplemented here with a weight per image. With weights of 1 the results are
identical.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from samtailor.errors import InputError
from samtailor.structures import Annotation, RunLengths

MAX_DETECTIONS = 100
"""Predictions per image and class that count, those of highest score (COCO's maxDets)."""
THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU thresholds that AP is averaged over."""
_RECALLS = np.linspace(0, 1, 101)
NAMES = {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}
"""Metrics and the slice of `THRESHOLDS` that each is the mean over."""


@dataclass(frozen=True)
class Instance(RunLengths):
    """A predicted object.

    Args:
        label: class name.
        rle: its mask, as in `Annotation`.
        score: ranking score, in [0, 1].
        accepted: whether its confidence reaches the threshold of its class, so that a user would receive it.
    """

    label: str
    rle: dict[str, Any]
    score: float
    accepted: bool = True


@dataclass(frozen=True)
class ImageResult:
    """True objects and predictions of one image.

    Args:
        id: sample id.
        truths: true objects, crowds included.
        predictions: predicted objects.
        group: bootstrap unit.
    """

    id: str
    truths: tuple[Annotation, ...]
    predictions: tuple[Instance, ...]
    group: Hashable = None


@dataclass(frozen=True)
class Matched:
    """Predictions of one class matched with its objects, all images together, by falling score.

    T IoU thresholds, N predictions.

    Args:
        image: int (N,), index of the image of each prediction.
        correct: bool (T, N), whether the prediction is matched with an object.
        counts: bool (T, N), False where the prediction lies on a crowd.
        objects: int (images,), number of objects that are not crowds.
    """

    image: np.ndarray
    correct: np.ndarray
    counts: np.ndarray
    objects: np.ndarray


def match(
    images: Sequence[ImageResult], classes: Sequence[str], max_detections: int = MAX_DETECTIONS
) -> dict[str, Matched]:
    """Match predictions with true objects, class by class.

    Args:
        images: results of all images.
        classes: class names; objects and predictions of other classes are ignored.
        max_detections: predictions per image and class that count.

    Raises:
        InputError: no image, or `max_detections` below 1.
    """
    if not images or max_detections < 1:
        raise InputError(
            f"Mask AP needs at least one image and one detection per image, got {len(images)} and {max_detections}."
        )
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths, predictions = COCO(), COCO()
    truths.dataset, predictions.dataset = (_dataset(images, classes, part) for part in ("truths", "predictions"))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truths.createIndex()
        predictions.createIndex()
        evaluator = COCOeval(truths, predictions, "segm")
        evaluator.params.iouThrs, evaluator.params.maxDets = THRESHOLDS, [max_detections]
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluator.evaluate()
    per_class = [evaluator.evalImgs[k * len(images) : (k + 1) * len(images)] for k in range(len(classes))]
    return {label: _pooled(rows) for label, rows in zip(classes, per_class, strict=True)}


def precision(matched: Matched, weights: np.ndarray | None = None) -> np.ndarray:
    """AP of one class at each of `THRESHOLDS`, float64 (T,); nan for a class without objects.

    Args:
        matched: from `match`.
        weights: (images,), how often each image counts; None counts each once.
    """
    objects = matched.objects.sum() if weights is None else float(matched.objects @ weights)
    if not objects:
        return np.full(len(THRESHOLDS), np.nan)
    weight = np.ones(len(matched.image)) if weights is None else weights[matched.image]
    correct = np.cumsum((matched.correct & matched.counts) * weight, axis=1)
    wrong = np.cumsum((~matched.correct & matched.counts) * weight, axis=1)
    envelope = correct / (correct + wrong + np.spacing(1))
    envelope = np.maximum.accumulate(envelope[:, ::-1], axis=1)[:, ::-1]
    out = np.zeros(len(THRESHOLDS))
    for t, (recall, precisions) in enumerate(zip(correct / objects, envelope, strict=True)):
        at = np.searchsorted(recall, _RECALLS, side="left")
        out[t] = precisions[at[at < len(precisions)]].sum() / len(_RECALLS)
    return out


def mean_precision(matched: Mapping[str, Matched], weights: np.ndarray | None = None) -> dict[str, float | None]:
    """Means over the classes that have objects: `ap` (mean over IoU 0.50 to 0.95), `ap50` and `ap75`, in [0, 1].

    All are None if no class has objects.
    """
    by_class = np.stack([precision(one, weights) for one in matched.values()])
    by_class = by_class[~np.isnan(by_class).any(axis=1)]
    return {name: float(by_class[:, part].mean()) if len(by_class) else None for name, part in NAMES.items()}


def with_intervals(
    matched: Mapping[str, Matched], groups: Sequence[Hashable], seed: int = 0, draws: int = 1000
) -> dict[str, Any]:
    """`mean_precision` with 95 % cluster bootstrap intervals `..._interval` [low, high].

    Args:
        matched: from `match`.
        groups: group of each image; whole groups are resampled.
        seed: random seed.
        draws: number of bootstrap samples.

    Returns:
        metrics and intervals; intervals are None with fewer than two groups.
    """
    numbers = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    member = np.array([numbers[group] for group in groups])
    out: dict[str, Any] = dict(mean_precision(matched))
    rng = np.random.default_rng(seed)
    count = len(numbers)
    occurrences = rng.multinomial(count, np.full(count, 1 / count), size=draws if count > 1 else 0)
    resampled = [mean_precision(matched, counts[member].astype(np.float64)) for counts in occurrences]
    for name in NAMES:
        values = [value for one in resampled if (value := one[name]) is not None]
        out[f"{name}_interval"] = np.percentile(values, [2.5, 97.5]).tolist() if values else None
    return out


def _dataset(results: Sequence[ImageResult], classes: Sequence[str], part: str) -> dict[str, Any]:
    """COCO's JSON structure: predictions with their score, true objects with `iscrowd`."""
    from pycocotools import mask as coco

    categories = {label: i for i, label in enumerate(classes, 1)}
    rows: list[dict[str, Any]] = []
    for number, image in enumerate(results, 1):
        for one in getattr(image, part):
            if one.label in categories:
                row: dict[str, Any] = {"id": len(rows) + 1, "image_id": number, "category_id": categories[one.label]}
                row |= {"segmentation": one.rle, "area": float(coco.area(one.rle)), "iscrowd": 0}
                rows.append(row | ({"iscrowd": int(one.crowd)} if part == "truths" else {"score": float(one.score)}))
    images = [{"id": number, **_size(image)} for number, image in enumerate(results, 1)]
    return {"images": images, "annotations": rows, "categories": [{"id": i, "name": n} for n, i in categories.items()]}


def _size(image: ImageResult) -> dict[str, int]:
    masks: list[RunLengths] = [*image.truths, *image.predictions]
    height, width = masks[0].rle["size"] if masks else (1, 1)
    return {"height": int(height), "width": int(width)}


def _pooled(rows: Sequence[dict[str, Any] | None]) -> Matched:
    """One class of `COCOeval.evalImgs`; None stands for an image with neither objects nor predictions."""
    objects = np.array([0 if row is None else int((np.asarray(row["gtIgnore"]) == 0).sum()) for row in rows])
    kept = [(i, row) for i, row in enumerate(rows) if row is not None]
    scores = np.concatenate([np.zeros(0), *(np.asarray(row["dtScores"], np.float64) for _, row in kept)])
    image = np.concatenate([np.zeros(0, np.intp), *(np.full(len(row["dtScores"]), i) for i, row in kept)])
    empty = np.zeros((len(THRESHOLDS), 0), bool)
    correct, ignored = (
        np.concatenate([empty, *(np.asarray(row[key], bool).reshape(len(THRESHOLDS), -1) for _, row in kept)], axis=1)
        for key in ("dtMatches", "dtIgnore")
    )
    order = np.argsort(-scores, kind="mergesort")
    return Matched(image[order], correct[:, order], ~ignored[:, order], objects)


__all__ = ["MAX_DETECTIONS", "NAMES", "THRESHOLDS", "ImageResult", "Instance", "Matched", "match", "mean_precision",
           "precision", "with_intervals"]  # fmt: skip
