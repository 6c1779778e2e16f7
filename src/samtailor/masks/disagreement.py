"""Annotations that disagree with the answers of a model that has not learned from them.

The answers must be out-of-fold or on held-out images. Most disagreements are errors of the model. Only those that stand
out are worth a look: where the model agrees with nearly all annotations and strongly disagrees with one, or is sure of
an object that is not annotated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from samtailor.masks.average_precision import ImageResult
from samtailor.masks.confusion import matched_objects
from samtailor.masks.metrics import dice
from samtailor.masks.overlay import around, fit, overlay
from samtailor.masks.rle import encode
from samtailor.structures import RunLengths, Sample

FENCE = 1.5
"""Scores below the lower quartile by more than this many interquartile ranges stand out (Tukey's fence)."""
HIGHEST = 0.5
"""A score above this is never a strong disagreement."""
SURE = 0.8
"""Confidence from which on an answer of another class, or without an annotation, is a strong disagreement. Where fewer
of such sure answers than this share are right, none is."""
MIN_OBJECTS = 8
"""With fewer annotations of a class nothing stands out."""
_ANSWER = (255, 149, 0)


@dataclass(frozen=True)
class Answer:
    """An annotation with the model's answer; one of the two may be missing.

    Args:
        id: of the image.
        label: class of the annotation; of the answer, if there is no annotation.
        score: agreement in [0, 1]: IoU or Dice; 0 if one of the two is missing.
        truth: run lengths of the annotation; None if there is none.
        answer: run lengths of the answer; None if there is none.
        answer_label: class of the answer.
        confidence: of the answer, in [0, 1]; None if it is not known.
    """

    id: str
    label: str
    score: float
    truth: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None
    answer_label: str | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Disagreement:
    """An annotation that stands out, or an object that may lack one.

    Args:
        answer: annotation and answer.
        kind: "outline", "class", "missed" (annotated, nothing found) or "unannotated".
        reason: a sentence.
    """

    answer: Answer
    kind: str
    reason: str


def instance_answers(images: Sequence[ImageResult], classes: Sequence[str]) -> list[Answer]:
    """Answers of automatic mode: objects with the accepted predictions of the highest IoU, whatever their class."""
    answers = []
    for image in images:
        truths, predictions, pairs = matched_objects(image, classes)
        for row, one in enumerate(truths):
            if row not in pairs:
                answers.append(Answer(image.id, one.label, 0.0, one.rle))
                continue
            match = predictions[pairs[row]]
            score = _iou(one.rle, match.rle)
            answers.append(Answer(image.id, one.label, score, one.rle, match.rle, match.label, match.score))
        crowd = any(one.crowd for one in image.truths)
        for column in set(range(len(predictions))) - set(pairs.values()) if not crowd else ():
            stray = predictions[column]
            answers.append(Answer(image.id, stray.label, 0.0, None, stray.rle, stray.label, stray.score))
    return answers


def region_answers(
    ids: Sequence[str], label: str, truths: Sequence[np.ndarray], answers: Sequence[np.ndarray]
) -> list[Answer]:
    """Answers for the region of a class, scored by Dice.

    Args:
        ids: image of each region.
        label: class.
        truths, answers: bool (height, width) masks in the same order; both may be empty.
    """
    made = []
    for id, true, mask in zip(ids, truths, answers, strict=True):
        rles = [encode(one) if one.any() else None for one in (true, mask)]
        if rles != [None, None]:
            made.append(Answer(id, label, dice(mask, true), rles[0], rles[1], None if rles[1] is None else label))
    return made


def worst(answers: Sequence[Answer], count: int = 5) -> list[tuple[str, float]]:
    """(image id, mean score of its annotations) of the images with the lowest scores, worst first.

    Unannotated answers count with a score of 0.
    """
    scores: dict[str, list[float]] = {}
    for one in answers:
        scores.setdefault(one.id, []).append(one.score)
    means = [(id, float(np.mean(values))) for id, values in scores.items()]
    return sorted(means, key=lambda pair: (pair[1], pair[0]))[:count]


def disagreements(answers: Sequence[Answer], *, count: int | None = None) -> list[Disagreement]:
    """Annotations that strongly disagree with out-of-fold answers, most doubtful first.

    Args:
        answers: of all annotations of the images, of one or several classes.
        count: at most so many; None: all.
    """
    doubtful: list[tuple[float, Disagreement]] = []
    for label in dict.fromkeys(one.label for one in answers):
        of_class = [one for one in answers if one.label == label]
        doubtful += _of_class(label, of_class)
    ordered = sorted(doubtful, key=lambda pair: (-pair[0], pair[1].answer.id))
    return [one for _, one in ordered][:count]


def _of_class(label: str, answers: Sequence[Answer]) -> list[tuple[float, Disagreement]]:
    """(doubt, disagreement) of the annotations and answers of one class."""
    scores = np.array([one.score for one in answers if one.truth is not None])
    if len(scores) < MIN_OBJECTS:
        return []
    low, middle, high = np.percentile(scores, [25, 50, 75])
    fence = min(low - FENCE * (high - low), HIGHEST)
    sure = [one for one in answers if (one.confidence or 0) >= SURE]
    right = float(np.mean([one.truth is not None and one.answer_label == label for one in sure])) if sure else 0.0
    trusted = {id(one) for one in sure} if right >= SURE else set()
    out: list[tuple[float, Disagreement]] = []
    for one in answers:
        if one.truth is None:
            if id(one) in trusted:
                text = (
                    f"{label}, score {one.confidence:.2f}, is not annotated; {100 * right:.0f} % of such answers are."
                )
                out.append((float(one.confidence or 0) - fence, Disagreement(one, "unannotated", text)))
        elif one.answer_label not in (None, label):
            if id(one) in trusted:
                text = f"annotated as {label}, found as {one.answer_label} (score {one.confidence:.2f}, "
                text += f"IoU {one.score:.2f})."
                out.append((float(one.confidence or 0), Disagreement(one, "class", text)))
        elif one.score < fence:
            kind = "missed" if one.answer is None else "outline"
            what = "nothing is found here" if one.answer is None else f"the answer has an agreement of {one.score:.2f}"
            text = f"{label}: {what}; the median of the others is {middle:.2f}."
            out.append((float(middle - one.score), Disagreement(one, kind, text)))
    return out


def sheet(
    listed: Sequence[Disagreement], samples: Sequence[Sample], *, side: int = 260, columns: int = 4
) -> np.ndarray:
    """A contact sheet: annotation in green, answer in orange, with the place of each disagreement in view.

    Args:
        listed: at least one.
        samples: with the images.
        side: of each panel, pixels.
        columns: panels per row.

    Returns:
        uint8 RGB; panels are numbered from 1 in the order of `listed`.
    """
    by_id = {sample.id: sample for sample in samples}
    panels = [panel(one, by_id[one.answer.id].image, side) for one in listed]
    tiles = []
    for number, drawn in enumerate(panels, 1):
        tile = np.full((side, side, 3), 255, np.uint8)
        tile[: drawn.shape[0], : drawn.shape[1]] = drawn
        cv2.rectangle(tile, (0, 0), (34, 24), (255, 255, 255), -1)
        cv2.putText(tile, str(number), (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
        tiles.append(np.pad(tile, ((3, 3), (3, 3), (0, 0)), constant_values=255))
    empty = np.full_like(tiles[0], 255)
    tiles += [empty] * (-len(tiles) % columns)
    return np.concatenate([np.concatenate(tiles[at : at + columns], axis=1) for at in range(0, len(tiles), columns)])


def panel(one: Disagreement, image: np.ndarray, side: int) -> np.ndarray:
    """The place of a disagreement, uint8 RGB whose longer side has `side` pixels."""
    truth, answer = (None if rle is None else _Runs(rle) for rle in (one.answer.truth, one.answer.answer))
    shown = [one for one in (truth, answer) if one is not None]
    boxes = np.array([one.box for one in shown])
    box = (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0))
    masks = [] if answer is None else [answer.mask]
    drawn = overlay(image, masks, colors=(_ANSWER,), outlines=[] if truth is None else [truth.mask], alpha=0.35)
    return fit(np.ascontiguousarray(drawn[around(box, *image.shape[:2])]), side)


@dataclass(frozen=True)
class _Runs(RunLengths):
    rle: dict[str, Any]


def _iou(one: dict[str, Any], other: dict[str, Any]) -> float:
    from pycocotools import mask as coco

    return float(coco.iou([one], [other], [0])[0, 0])


__all__ = [
    "Answer",
    "Disagreement",
    "disagreements",
    "instance_answers",
    "panel",
    "region_answers",
    "sheet",
    "worst",
]
