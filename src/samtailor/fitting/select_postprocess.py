"""Selection of the postprocessing of an adapter, on predictions for images that it has not learnt from.

Steps are added one at a time (forward selection). The step with the highest mean gain is taken if the gain is larger
than its standard error; of the values of one step within a standard error of the best, the mildest is taken. With
this many comparisons on few images some step always seems to help, so the whole selection is repeated with each group
of images left out (in at most ten parts), and nothing is done unless the gain on the groups that were left out is
larger than its standard error, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from samtailor.errors import InputError
from samtailor.fitting.gate import Difference
from samtailor.masks import interior
from samtailor.masks.contours import connected, is_rectangle
from samtailor.masks.postprocess import Window, postprocessed_window
from samtailor.masks.window_metrics import dice, iou, mean_f1
from samtailor.structures import NOTHING, PROMPT_TYPES, WAYS, Postprocess, RunLengths

MIN_GROUPS = 3
"""With fewer groups of images nothing is selected."""
MIN_GAIN = 0.002
"""Smaller mean gains of a score in [0, 1] are not worth a step."""
MAX_OBJECTS = 1500
"""Objects of automatic mode that are compared, whole images at random; more take long and change little."""
VALUES: Mapping[str, tuple[Any, ...]] = {
    "smoothing": (0.05, 0.1, 0.2),
    "fill_holes": (0.03, 1.0),
    "crumbs": (0.03, 0.1, 0.3),
    "one_component": (True,),
}
"""Values that are compared, mildest first; `min_area` is compared at a quarter and half of the smallest true object,
`rectangles` where the true masks are rectangles."""
METRICS = {"click": "IoU", "box": "IoU", "region": "Dice", "instances": "F1, mean over IoU 0.5 to 0.95"}
"""What is compared for each way of use."""
_FOLDS = 10  # parts in which groups are left out
_RECTANGLES = 0.9  # share of the true parts that must be rectangles; boxes that overlap are one part of a region

Mask = np.ndarray | RunLengths
"""A bool mask (height, width), float logits that are cut at 0, or an object with run lengths."""


@dataclass(frozen=True)
class PostprocessEvidence:
    """What a selection is based on.

    Args:
        way, metric: way of use, and what was compared.
        before, after: mean score without postprocessing, and with the selected one on the same predictions.
        steps: the steps taken, each with its gain over the steps before.
        left_out: gain on groups of images that were left out of the selection; None with too few groups.
        compared: number of different postprocessings that were compared.
        images, groups: what it is based on.
        reason: why nothing, or this, was selected; a sentence.
    """

    way: str
    metric: str
    before: float
    after: float
    steps: tuple[tuple[str, Any, Difference], ...] = ()
    left_out: Difference | None = None
    compared: int = 1
    images: int = 0
    groups: int = 0
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        steps = [
            {"step": name, "value": value, "gain": one.mean, "error": one.error} for name, value, one in self.steps
        ]
        left_out = None if self.left_out is None else {"gain": self.left_out.mean, "error": self.left_out.error}
        return plain | {"steps": steps, "left_out": left_out}


_PLAIN = ("way", "metric", "before", "after", "compared", "images", "groups", "reason")


def choose_postprocess(
    predictions: Sequence[Any], truths: Sequence[Any], groups: Sequence[str], *, way: str = "region", seed: int = 0
) -> tuple[Postprocess, PostprocessEvidence]:
    """Select what is done to the masks of one way of use.

    Args:
        predictions: for a click, a box and the region one mask for each true mask; for "instances" the masks of each
            image, sorted by falling rank. The adapter must not have learnt from their images (out-of-fold).
        truths: the true masks in the same order; for "instances" those of each image.
        groups: group of each prediction (of each image, for "instances"); predictions of a group are not independent.
        way: one of `WAYS`.
        seed: of the draw of images where there are more than `MAX_OBJECTS` objects.

    Returns:
        the postprocessing, which is `NOTHING` unless it helps, and the evidence.

    Raises:
        InputError: an unknown way of use, no prediction, or lengths or sizes that do not fit.
    """
    if way not in WAYS or not len(predictions) or not len(predictions) == len(truths) == len(groups):
        raise InputError(
            f"A postprocessing is selected for one of {', '.join(WAYS)} with a true mask and a group for each of at "
            f"least one prediction; got {way!r}, {len(predictions)} predictions, {len(truths)} true masks and "
            f"{len(groups)} groups."
        )
    if way == "instances":
        rows = [_Image.of(*pair) for pair in zip(predictions, truths, strict=True)]
        rows, groups = _at_most(rows, list(groups), seed)
    else:
        rows = [_Image.of([one], [true]) for one, true in zip(predictions, truths, strict=True)]
    scores = _Scores(rows, way)
    return _Selection(scores, tuple(groups), _values(rows, way)).result()


@dataclass(frozen=True)
class _Image:
    """Predicted and true masks of an image as windows, and their areas."""

    size: tuple[int, int]
    predictions: tuple[Window, ...]
    truths: tuple[Window, ...]

    @classmethod
    def of(cls, predictions: Sequence[Mask], truths: Sequence[Mask]) -> _Image:
        masks = [[_pixels(one) for one in part] for part in (predictions, truths)]
        sizes = {mask.shape for part in masks for mask in part}
        if len(sizes) > 1:
            raise InputError(f"Predicted and true masks of an image must have one size, got {sorted(sizes)}.")
        size = next(iter(sizes), (1, 1))
        return cls((size[0], size[1]), *(tuple(_window(mask) for mask in part) for part in masks))


@dataclass
class _Scores:
    """Scores of every image for any postprocessing, each computed once."""

    rows: Sequence[_Image]
    way: str
    known: dict[Postprocess, np.ndarray] = field(default_factory=dict)

    def __call__(self, how: Postprocess) -> np.ndarray:
        if how not in self.known:
            never_empty = self.way in PROMPT_TYPES
            self.known[how] = np.array([self._score(_applied(row, how, never_empty), row) for row in self.rows])
        return self.known[how]

    def _score(self, masks: Sequence[Window], row: _Image) -> float:
        if self.way == "instances":
            return mean_f1(masks, row.truths)
        return (dice if self.way == "region" else iou)(masks[0], row.truths[0])


@dataclass(frozen=True)
class _Selection:
    """Forward selection on all groups, and with each group left out."""

    scores: _Scores
    groups: tuple[str, ...]
    values: Mapping[str, tuple[Any, ...]]

    def result(self) -> tuple[Postprocess, PostprocessEvidence]:
        before = self.scores(NOTHING)
        count = len(set(self.groups))
        about: dict[str, Any] = {"way": self.scores.way, "metric": METRICS[self.scores.way], "groups": count}
        about |= {"images": len(self.scores.rows), "before": float(before.mean())}
        if count < MIN_GROUPS:
            reason = f"There are predictions of {count} groups of images, fewer than {MIN_GROUPS}."
            return NOTHING, PostprocessEvidence(**about, after=about["before"], reason=reason)
        chosen, steps = self.forward(np.ones(len(self.groups), bool))
        left_out = None if chosen.nothing else self.left_out()
        about["compared"] = len(self.scores.known)
        if left_out is None:
            reason = "No step raises the score by more than its standard error."
        elif not left_out.better:
            chosen, reason = NOTHING, "The gain does not hold on images that were left out of the selection."
        else:
            reason = "The gain holds on images that were left out of the selection."
        after = float(self.scores(chosen).mean())
        return chosen, PostprocessEvidence(**about, after=after, steps=steps, left_out=left_out, reason=reason)

    def forward(self, rows: np.ndarray) -> tuple[Postprocess, tuple[tuple[str, Any, Difference], ...]]:
        """Add steps while they help, judged on some of the rows."""
        chosen, taken = NOTHING, []
        while (step := self._best_step(chosen, rows)) is not None:
            name, value, gain = step
            chosen = replace(chosen, **{name: value})
            taken.append((name, value, gain))
        return chosen, tuple(taken)

    def left_out(self) -> Difference:
        """Gain of the selection on rows whose groups it did not see."""
        change = np.zeros(len(self.groups))
        folds = {group: index % _FOLDS for index, group in enumerate(dict.fromkeys(self.groups))}
        fold_of = np.array([folds[group] for group in self.groups])
        for fold in sorted(set(folds.values())):
            out = fold_of == fold
            chosen, _ = self.forward(~out)
            change[out] = (self.scores(chosen) - self.scores(NOTHING))[out]
        return Difference.of(change.tolist(), [0.0] * len(change), self.groups)

    def _best_step(self, chosen: Postprocess, rows: np.ndarray) -> tuple[str, Any, Difference] | None:
        best: tuple[str, Any, Difference] | None = None
        for name, values in self.values.items():
            if getattr(chosen, name):
                continue
            step = self._mildest(chosen, name, values, rows)
            if step is not None and (best is None or step[1].mean > best[2].mean):
                best = (name, *step)
        return best

    def _mildest(
        self, chosen: Postprocess, name: str, values: Sequence[Any], rows: np.ndarray
    ) -> tuple[Any, Difference] | None:
        """The mildest value within a standard error of the best one; None if none of them helps."""
        groups = [group for group, kept in zip(self.groups, rows, strict=True) if kept]
        scores = {value: self.scores(replace(chosen, **{name: value}))[rows] for value in values}
        gains = {value: Difference.of(score, self.scores(chosen)[rows], groups) for value, score in scores.items()}
        helpful = [value for value, gain in gains.items() if gain.better and gain.mean >= MIN_GAIN]
        if not helpful:
            return None
        best = max(helpful, key=lambda value: gains[value].mean)
        mildest = next(value for value in helpful if not Difference.of(scores[value], scores[best], groups).worse)
        return mildest, gains[mildest]


def _values(rows: Sequence[_Image], way: str) -> dict[str, tuple[Any, ...]]:
    values = dict(VALUES)
    areas = [
        np.count_nonzero(true[0]) / (row.size[0] * row.size[1])
        for row in rows for true in row.truths if true[0].any()
    ]  # fmt: skip
    if areas and way not in PROMPT_TYPES:
        values["min_area"] = (float(f"{min(areas) / 4:.2g}"), float(f"{min(areas) / 2:.2g}"))
    if _rectangular(rows):
        values["rectangles"] = (True,)
    return values


def _rectangular(rows: Sequence[_Image]) -> bool:
    """Whether nearly all true parts are rectangles with edges along the axes."""
    parts = [is_rectangle(part) for row in rows for true, *_ in row.truths if true.any() for part in connected(true)]
    return bool(parts) and float(np.mean(parts)) >= _RECTANGLES


def _at_most(rows: list[_Image], groups: list[str], seed: int) -> tuple[list[_Image], list[str]]:
    """Images at random until there are `MAX_OBJECTS` predictions."""
    order = np.random.default_rng([seed, 22]).permutation(len(rows))
    kept: list[int] = []
    objects = 0
    for row in order.tolist():
        if kept and objects + len(rows[row].predictions) > MAX_OBJECTS:
            continue
        kept.append(row)
        objects += len(rows[row].predictions)
    return [rows[row] for row in sorted(kept)], [groups[row] for row in sorted(kept)]


def _pixels(mask: Mask) -> np.ndarray:
    pixels = mask if isinstance(mask, np.ndarray) else mask.mask
    return pixels if pixels.dtype == bool else pixels > 0


def _window(mask: np.ndarray) -> Window:
    if not mask.any():
        return np.zeros((0, 0), bool), 0, 0
    x0, y0, x1, y1 = interior.box(mask)
    return mask[y0 : y1 + 1, x0 : x1 + 1].copy(), x0, y0


def _applied(row: _Image, how: Postprocess, never_empty: bool) -> list[Window]:
    return [postprocessed_window(one, how, row.size, never_empty=never_empty) for one in row.predictions]


__all__ = ["MAX_OBJECTS", "METRICS", "MIN_GAIN", "MIN_GROUPS", "VALUES", "PostprocessEvidence", "choose_postprocess"]
