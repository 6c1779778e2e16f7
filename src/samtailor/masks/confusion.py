"""Confusion between classes: which class's objects are covered by the answers of which class.

Per pixel for regions, where answers of several classes may overlap, and per object for instances.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from samtailor.errors import InputError
from samtailor.masks.average_precision import ImageResult, Instance
from samtailor.structures import Annotation

IOU = 0.5
"""IoU from which on an answer covers an object, whatever its class."""
BACKGROUND, NOTHING_FOUND = "no object", "nothing found"
"""Name of the last row (answers where nothing is annotated), and of the last column (objects without an answer)."""


@dataclass(frozen=True)
class Confusion:
    """How often answers of each class cover objects of each class.

    Args:
        truths: classes of the objects, the rows; one more row is `BACKGROUND`.
        answers: classes of the answers, the columns; one more column is `NOTHING_FOUND`.
        counts: int (truths + 1, answers + 1); [-1, -1] is 0.
        totals: int (truths,), objects or pixels of each class.
        unit: "pixels" or "objects".
    """

    truths: tuple[str, ...]
    answers: tuple[str, ...]
    counts: np.ndarray
    totals: np.ndarray
    unit: str

    @property
    def shares(self) -> np.ndarray:
        """Counts as shares of the objects or pixels of their row, float (truths + 1, answers + 1).

        Rows of "pixels" may have a sum above 1, where answers of several classes overlap. The last row is relative to
        all answers of a column: the share of them that lies where nothing is annotated. NaN where there are none.
        """
        out = np.full(self.counts.shape, np.nan)
        totals = np.append(self.totals, 0)
        rows = totals > 0
        out[rows] = self.counts[rows] / totals[rows, None]
        answered = self.counts.sum(axis=0)
        columns = answered > 0
        out[-1, columns] = self.counts[-1, columns] / answered[columns]
        out[-1, -1] = np.nan
        return out

    def confused(self, least: float = 0.05) -> list[tuple[str, str, float]]:
        """(class, other class, share) for the objects of a class that answers of another class cover, most first.

        Args:
            least: smaller shares are left out.
        """
        shares = self.shares
        pairs = [
            (truth, answer, float(shares[row, column]))
            for row, truth in enumerate(self.truths)
            for column, answer in enumerate(self.answers)
            if truth != answer and shares[row, column] >= least
        ]
        return sorted(pairs, key=lambda pair: -pair[2])

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        names = {"truths": [*self.truths, BACKGROUND], "answers": [*self.answers, NOTHING_FOUND]}
        return {**names, "counts": self.counts.tolist(), "unit": self.unit}

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows of a table, in percent; "-" where a class has no object, or no answer."""
        shares = self.shares
        texts = [["-" if np.isnan(share) else f"{100 * share:.1f}" for share in row] for row in shares]
        rows = [[name, *cells] for name, cells in zip([*self.truths, BACKGROUND], texts, strict=True)]
        return ["", *self.answers, NOTHING_FOUND], rows


def region_confusion(
    images: Iterable[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]],
    truths: Sequence[str],
    answers: Sequence[str],
) -> Confusion:
    """Confusion per pixel.

    Args:
        images: for each image the true region of each class, and the answer of each class: bool (height, width).
            Classes that an image does not have may be missing.
        truths, answers: names of the classes.

    Raises:
        InputError: regions of an image have several sizes.
    """
    counts = np.zeros((len(truths) + 1, len(answers) + 1), np.int64)
    totals = np.zeros(len(truths), np.int64)
    for true, answered in images:
        masks = [*true.values(), *answered.values()]
        if len({mask.shape for mask in masks}) > 1:
            raise InputError(f"Regions of an image must have one size, got {sorted({m.shape for m in masks})}.")
        if not masks:
            continue
        empty = np.zeros(masks[0].shape, bool)
        some_true = np.logical_or.reduce([true.get(name, empty) for name in truths] or [empty])
        some_answer = np.logical_or.reduce([answered.get(name, empty) for name in answers] or [empty])
        for row, name in enumerate(truths):
            region = true.get(name, empty)
            totals[row] += np.count_nonzero(region)
            counts[row, -1] += np.count_nonzero(region & ~some_answer)
            for column, other in enumerate(answers):
                counts[row, column] += np.count_nonzero(region & answered.get(other, empty))
        for column, other in enumerate(answers):
            counts[-1, column] += np.count_nonzero(answered.get(other, empty) & ~some_true)
    return Confusion(tuple(truths), tuple(answers), counts, totals, "pixels")


def instance_confusion(images: Sequence[ImageResult], classes: Sequence[str]) -> Confusion:
    """Confusion per object: each object is assigned the free answer of highest IoU, whatever its class.

    Args:
        images: results; only accepted predictions count, and objects and predictions of the classes.
        classes: names.
    """
    names = tuple(classes)
    place = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names) + 1, len(names) + 1), np.int64)
    for image in images:
        truths, accepted, pairs = matched_objects(image, place)
        for row, one in enumerate(truths):
            counts[place[one.label], place[accepted[pairs[row]].label] if row in pairs else -1] += 1
        crowds = [one.rle for one in image.truths if one.crowd]
        for column in set(range(len(accepted))) - set(pairs.values()):
            if not _inside(accepted[column].rle, crowds):
                counts[-1, place[accepted[column].label]] += 1
    return Confusion(names, names, counts, counts[:-1].sum(axis=1), "objects")


def matched_objects(
    image: ImageResult, classes: Container[str]
) -> tuple[list[Annotation], list[Instance], dict[int, int]]:
    """Objects and accepted predictions of some classes, without regions of many objects, and their `match_objects`."""
    truths = [one for one in image.truths if one.label in classes and not one.crowd]
    accepted = [one for one in image.predictions if one.accepted and one.label in classes]
    return truths, accepted, match_objects([one.rle for one in truths], [one.rle for one in accepted])


def match_objects(
    truths: Sequence[dict[str, Any]], predictions: Sequence[dict[str, Any]], least: float = IOU
) -> dict[int, int]:
    """Pairs of objects and predictions, by falling IoU, each used once: index of the object to that of the prediction.

    Args:
        truths, predictions: run lengths.
        least: smallest IoU of a pair.
    """
    from pycocotools import mask as coco

    if not truths or not predictions:
        return {}
    table = np.asarray(coco.iou(list(predictions), list(truths), [0] * len(truths)), np.float64).T
    pairs: dict[int, int] = {}
    for flat in np.argsort(-table, axis=None, kind="stable"):
        row, column = divmod(int(flat), len(predictions))
        if table[row, column] < least:
            break
        if row not in pairs and column not in pairs.values():
            pairs[row] = column
    return pairs


def _inside(rle: dict[str, Any], crowds: Sequence[dict[str, Any]]) -> bool:
    """Whether half of a mask lies on regions of many objects, which are not annotated one by one."""
    from pycocotools import mask as coco

    return bool(crowds) and float(np.max(coco.iou([rle], list(crowds), [1] * len(crowds)))) >= IOU


__all__ = [
    "BACKGROUND",
    "NOTHING_FOUND",
    "Confusion",
    "instance_confusion",
    "match_objects",
    "matched_objects",
    "region_confusion",
]
