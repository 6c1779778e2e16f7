"""Mask AP as COCO defines it: answers are matched with true objects by pycocotools, precision is read at 101 recalls.

pycocotools averages a whole data set at once, and an interval needs many resampled data sets. So its matching
(`COCOeval.evaluate`: per image and class, by falling score, each object once, crowds ignored) is done once, and the
averaging (`COCOeval.accumulate`) is written here with a weight for each image; with weights of 1 both agree exactly.
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

MOST = 100
"""Answers of a class and image that count, the best ones (COCO's maxDets)."""
THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)
NAMES = {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}
"""Figures and the IoU thresholds they are the mean over."""


@dataclass(frozen=True)
class Instance(RunLengths):
    """An object that was found.

    Args:
        label: class name.
        rle: its mask, as in `Annotation`.
        score: what it is ranked by, in [0, 1].
        accepted: whether it would be given to a user (its proposal's score reaches the class's threshold).
    """

    label: str
    rle: dict[str, Any]
    score: float
    accepted: bool = True


@dataclass(frozen=True)
class Answered:
    """An image with its true objects (crowds among them) and what was found.

    Args:
        id: of the sample.
        truths, found: true objects and answers.
        group: bootstrap unit; its id where there is none.
    """

    id: str
    truths: tuple[Annotation, ...]
    found: tuple[Instance, ...]
    group: Hashable = None


@dataclass(frozen=True)
class Matched:
    """Answers of one class against its objects, all images together, by falling score.

    Args:
        image: int (N,), index of the image of each answer.
        right: bool (T, N), whether it found an object, by IoU threshold.
        counts: bool (T, N), False where it lies on a crowd.
        objects: int (images,), objects that are no crowd.
    """

    image: np.ndarray
    right: np.ndarray
    counts: np.ndarray
    objects: np.ndarray


def match(images: Sequence[Answered], classes: Sequence[str], most: int = MOST) -> dict[str, Matched]:
    """Match answers with objects, class by class; other classes are left out.

    Args:
        images: what was found where.
        classes: names.
        most: answers of a class and image that count.

    Raises:
        InputError: no image, or `most` below 1.
    """
    if not images or most < 1:
        raise InputError(f"Mask AP needs an image and at least one answer an image, got {len(images)} and {most}.")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths, found = COCO(), COCO()
    truths.dataset, found.dataset = (_dataset(images, classes, part) for part in ("truths", "found"))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports on standard output
        truths.createIndex()
        found.createIndex()
        judge = COCOeval(truths, found, "segm")
        judge.params.iouThrs, judge.params.maxDets, judge.params.areaRng = THRESHOLDS, [most], [[0, 1e10]]
        judge.params.areaRngLbl = ["all"]
        judge.evaluate()
    per_class = [judge.evalImgs[k * len(images) : (k + 1) * len(images)] for k in range(len(classes))]
    return {label: _pooled(rows) for label, rows in zip(classes, per_class, strict=True)}


def precision(matched: Matched, weights: np.ndarray | None = None) -> np.ndarray:
    """AP of one class at each of `THRESHOLDS`, float64 (T,); nan where there is no object.

    Args:
        matched: from `match`.
        weights: how often each image counts, (images,); None: once.
    """
    objects = matched.objects.sum() if weights is None else float(matched.objects @ weights)
    if not objects:
        return np.full(len(THRESHOLDS), np.nan)
    weight = np.ones(len(matched.image)) if weights is None else weights[matched.image]
    right = np.cumsum((matched.right & matched.counts) * weight, axis=1)
    wrong = np.cumsum((~matched.right & matched.counts) * weight, axis=1)
    share = right / (right + wrong + np.spacing(1))
    share = np.maximum.accumulate(share[:, ::-1], axis=1)[:, ::-1]
    out = np.zeros(len(THRESHOLDS))
    for t, (recall, own) in enumerate(zip(right / objects, share, strict=True)):
        at = np.searchsorted(recall, _RECALLS, side="left")
        out[t] = own[at[at < len(own)]].sum() / len(_RECALLS)
    return out


def mean_precision(matched: Mapping[str, Matched], weights: np.ndarray | None = None) -> dict[str, float | None]:
    """`ap` (mean over IoU 0.50 to 0.95), `ap50` and `ap75`, each the mean over the classes that have an object."""
    by_class = np.stack([precision(one, weights) for one in matched.values()])
    by_class = by_class[~np.isnan(by_class).any(axis=1)]
    return {name: float(by_class[:, part].mean()) if len(by_class) else None for name, part in NAMES.items()}


def with_intervals(
    matched: Mapping[str, Matched], groups: Sequence[Hashable], seed: int = 0, draws: int = 1000
) -> dict[str, Any]:
    """`mean_precision` with `..._interval` [low, high], 95 %: whole groups of images are drawn.

    Args:
        matched: from `match`.
        groups: of each image.
        seed, draws: of the bootstrap.

    Returns:
        intervals are None with fewer than two groups.
    """
    known = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    member = np.array([known[group] for group in groups])
    out: dict[str, Any] = mean_precision(matched)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(known), np.full(len(known), 1 / len(known)), size=draws if len(known) > 1 else 0)
    found = [mean_precision(matched, counts[member].astype(np.float64)) for counts in drawn]
    for name in NAMES:
        values = [one[name] for one in found if one[name] is not None]
        out[f"{name}_interval"] = np.percentile(values, [2.5, 97.5]).tolist() if values else None
    return out


def _dataset(image_files: Sequence[Answered], classes: Sequence[str], part: str) -> dict[str, Any]:
    """COCO's form, from memory: answers with their score, objects with `iscrowd`."""
    from pycocotools import mask as coco

    kinds = {label: i for i, label in enumerate(classes, 1)}
    rows: list[dict[str, Any]] = []
    for number, image in enumerate(image_files, 1):
        for one in getattr(image, part):
            if one.label in kinds:
                row = {"id": len(rows) + 1, "image_id": number, "category_id": kinds[one.label]}
                row |= {"segmentation": one.rle, "area": float(coco.area(one.rle)), "iscrowd": 0}
                kind = {"iscrowd": int(one.crowd)} if part == "truths" else {"score": float(one.score)}
                rows.append(row | kind)
    images = [{"id": number, **_size(image)} for number, image in enumerate(image_files, 1)]
    return {"images": images, "annotations": rows, "categories": [{"id": i, "name": n} for n, i in kinds.items()]}


def _size(image: Answered) -> dict[str, int]:
    one = next(iter((*image.truths, *image.found)), None)
    height, width = (1, 1) if one is None else one.rle["size"]
    return {"height": int(height), "width": int(width)}


def _pooled(rows: Sequence[dict[str, Any] | None]) -> Matched:
    """One class of `COCOeval.evalImgs`; None stands for an image with neither object nor answer."""
    objects = np.array([0 if row is None else int((np.asarray(row["gtIgnore"]) == 0).sum()) for row in rows])
    kept = [(i, row) for i, row in enumerate(rows) if row is not None]
    scores = np.concatenate([np.zeros(0), *(np.asarray(row["dtScores"], np.float64) for _, row in kept)])
    image = np.concatenate([np.zeros(0, np.intp), *(np.full(len(row["dtScores"]), i) for i, row in kept)])
    empty = np.zeros((len(THRESHOLDS), 0), bool)
    right, ignored = (
        np.concatenate([empty, *(np.asarray(row[key], bool).reshape(len(THRESHOLDS), -1) for _, row in kept)], axis=1)
        for key in ("dtMatches", "dtIgnore")
    )
    order = np.argsort(-scores, kind="mergesort")
    return Matched(image[order], right[:, order], ~ignored[:, order], objects)


__all__ = ["MOST", "NAMES", "THRESHOLDS", "Answered", "Instance", "Matched", "match", "mean_precision", "precision",
           "with_intervals"]  # fmt: skip
