"""The scores of an evaluation, one row per mask, and their means with bootstrap intervals over groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from samtailor.errors import InputError
from samtailor.fitting.gate import MIN_OBJECTS
from samtailor.masks import metrics
from samtailor.structures import Account, Score
from samtailor.structures.notebook import table_html

_FIGURES = {
    "miou": "iou",
    "oracle_miou": "oracle_iou",
    "dice": "dice",
    "oracle_dice": "oracle_dice",
    "boundary_iou": "boundary_iou",
    "paper": "paper_dice",
}


@dataclass(frozen=True)
class Evaluation:
    """Scores of one segmenter.

    Args:
        rows: one per mask, in the order of the samples.
        prompt: name of the prompt source.
        seed: of the clicks and of the bootstrap.
        reference: the base model on the same masks and prompts, where both were evaluated together.
        account: what the data set contains and what is left out of it; None for samples in memory.
        part: what the images are, see `parts.Part`: "test", "validation" (some selected the best state of the adapter),
            "unseen", "training" or "all"; empty if it is not known.
    """

    rows: tuple[Score, ...]
    prompt: str
    seed: int
    reference: Evaluation | None = None
    account: Account | None = None
    part: str = ""

    def __repr__(self) -> str:
        """Scores in percent with 95 % intervals and counts, of the reference too."""
        end = f"\nImages: {self.part}" if self.part else ""
        return "\n".join(f"{name}: {', '.join(cells)}" for name, *cells in self._lines()) + end

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = [[name, *(cell.split(" ", 1)[1] for cell in cells)] for name, *cells in self._lines()]
        head = ["", "mIoU", "oracle mIoU", "Dice", "masks", "images", "groups"]
        part = f" Images: {self.part}." if self.part else ""
        return table_html(head, rows, f"Percent, mean over masks, 95 % interval. Prompt: {self.prompt}.{part}")

    def _lines(self) -> list[list[str]]:
        pairs = [("Evaluation", self)] if self.reference is None else [("Base", self.reference), ("Adapter", self)]
        return [[name, *one._cells()] for name, one in pairs]

    def _cells(self) -> list[str]:
        named = (("mIoU", "miou"), ("oracle", "oracle_miou"), ("Dice", "dice"))
        figures = self.figures()
        few = len(self.rows) < MIN_OBJECTS
        cells = [
            f"{label} {TOO_FEW if few else percent(figures[name], figures[f'{name}_interval'])}"
            for label, name in named
        ]
        return [*cells, *(f"{name} {figures[name]}" for name in ("masks", "images", "groups"))]

    def values(self, figure: str) -> np.ndarray:
        """Values of a metric: miou, oracle_miou, dice, oracle_dice, boundary_iou or paper.

        Returns:
            float64 (masks,), in [0, 1]; empty if a row, of an earlier version, does not have it.

        Raises:
            InputError: an unknown metric.
        """
        if figure not in _FIGURES:
            raise InputError(f"No metric is called {figure!r}. Known: {', '.join(_FIGURES)}.")
        values = [getattr(row, _FIGURES[figure]) for row in self.rows]
        return np.array([] if None in values else values, dtype=np.float64)

    def summary(self, draws: int = 1000) -> dict[str, Any]:
        """Means in [0, 1] with 95 % intervals.

        Returns:
            `miou`, `oracle_miou`, `dice`, `oracle_dice`, `boundary_iou` and `paper` (Dice on the papers' 64 x 64 grid,
            see `metrics.paper_dice`), means over masks, each with `..._interval` [low, high] from a bootstrap over
            groups; `macro_miou`, `macro_oracle_miou` and `macro_dice`, unweighted means over classes, with intervals;
            counts `masks`, `images`, `groups` and `empty` (predicted masks without a pixel, which count with IoU 0);
            and `classes`: the same per class. Without masks all means are None.
        """
        classes = {name: self.of(name).figures(draws) for name in self.labels}
        return {**self.figures(draws), **self._macro(draws), "classes": classes}

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes of the rows, in order of appearance."""
        return tuple(dict.fromkeys(row.label for row in self.rows))

    def of(self, label: str) -> Evaluation:
        """The rows of one class."""
        return Evaluation(tuple(row for row in self.rows if row.label == label), self.prompt, self.seed)

    def table(self) -> list[dict[str, Any]]:
        """The rows as plain dictionaries, for JSON."""
        return [asdict(row) for row in self.rows]

    def figures(self, draws: int = 1000) -> dict[str, Any]:
        """The part of `summary` without classes."""
        out: dict[str, Any] = {}
        for name in _FIGURES:
            out[name], out[f"{name}_interval"] = interval(self.values(name), self._groups(), self.seed, draws)
        images = len({row.id for row in self.rows})
        empty = sum(row.predicted_area == 0 for row in self.rows)
        counts = {"masks": len(self.rows), "images": images, "groups": len(set(self._groups())), "empty": empty}
        return {**out, **counts}

    def _groups(self) -> list[str]:
        return [row.group or row.id for row in self.rows]

    def _macro(self, draws: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        labels = [row.label for row in self.rows]
        for name in ("miou", "oracle_miou", "dice"):
            mean, bounds = interval(self.values(name), self._groups(), self.seed, draws, labels)
            out[f"macro_{name}"], out[f"macro_{name}_interval"] = mean, bounds
        return out


TOO_FEW = "too few to say"
"""Takes the place of a percentage with fewer than `MIN_OBJECTS` objects."""


def percent(value: float | None, interval: Sequence[float] | None = None, signed: bool = False) -> str:
    """A value in 0..1 as "71.2 [69.0, 73.1]" in percent; "-" for None."""
    if value is None:
        return "-"
    form = "{:+.1f}" if signed else "{:.1f}"
    text = form.format(100 * value)
    if interval is None:
        return text
    low, high = (form.format(100 * bound) for bound in interval)
    return f"{text} [{low}, {high}]"


def reported(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary of `Evaluation` or `InstanceEvaluation` as it is reported: counts alone where objects are too few.

    With fewer than `MIN_OBJECTS` objects all figures are None and "too_few" is True; the same for each class.
    """
    out = dict(summary)
    count = out.get("masks", out.get("objects"))
    out["too_few"] = count is not None and count < MIN_OBJECTS
    if out["too_few"]:
        out = {name: value if name in _COUNTS else None for name, value in out.items()}
    if out.get("classes"):
        out["classes"] = {name: reported(one) for name, one in out["classes"].items()}
    return out


_COUNTS = ("masks", "images", "groups", "objects", "found", "empty", "empty_images", "classes", "too_few")


def difference(after: Evaluation, before: Evaluation, draws: int = 1000) -> dict[str, Any]:
    """Paired differences, after minus before, of two evaluations on the same masks and clicks.

    Returns:
        per metric its mean difference and `..._interval` (bootstrap of the differences over groups), and `better`, the
        share of masks whose IoU increased.

    Raises:
        InputError: the evaluations do not cover the same masks.
    """
    keys = [[(row.id, row.label, row.index) for row in e.rows] for e in (after, before)]
    if keys[0] != keys[1]:
        raise InputError("Paired differences need two evaluations of the same masks in the same order.")
    out: dict[str, Any] = {}
    for name in _FIGURES:
        new, old = after.values(name), before.values(name)
        change = new - old if len(new) == len(old) else np.empty(0)
        out[name], out[f"{name}_interval"] = interval(change, after._groups(), after.seed, draws)
    better = after.values("miou") > before.values("miou")
    return {**out, "better": float(better.mean()) if len(better) else None}


def interval(
    values: np.ndarray, groups: Sequence[str], seed: int, draws: int = 1000, classes: Sequence[str] | None = None
) -> tuple[float | None, list[float] | None]:
    """Mean and 95 % interval by a cluster bootstrap.

    Args:
        values: (N,), one per mask.
        groups: of each mask.
        seed, draws: of the bootstrap.
        classes: of each mask, for the unweighted mean over classes; None: the mean over masks.

    Returns:
        the mean and [low, high]; no interval with fewer than two groups, and neither without values.
    """
    if len(values) == 0:
        return None, None
    mean, low, high = metrics.bootstrap(values.tolist(), groups, seed, draws, classes=classes)
    return mean, None if math.isnan(low) else [low, high]


__all__ = ["MIN_OBJECTS", "TOO_FEW", "Evaluation", "difference", "interval", "percent", "reported"]
