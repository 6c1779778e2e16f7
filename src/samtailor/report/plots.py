"""Plots of a report, each drawn for light and for dark pages."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.evaluation.scores import MIN_OBJECTS
from samtailor.report.page import Section, data_uri

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 4  # columns of a legend below the plots


def figure(title: str, text: str, draw: Callable[[], Figure], alt: str) -> Section:
    """A matplotlib figure, drawn once for light and once for dark pages.

    Args:
        title, text: of the section.
        draw: makes the figure; called twice.
        alt: text for readers who cannot see the figure.
    """
    import matplotlib as mpl

    images = {}
    for mode, ink in (("light", "#3a3a40"), ("dark", "#c8c8d0")):
        style: Any = {
            **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), ink),
            **{"axes.spines.top": False, "axes.spines.right": False, "font.size": 9},
        }
        with mpl.rc_context(style):
            images[mode] = _figure_uri(draw())
    return {"kind": "figure", "title": title, "text": text, "alt": alt, **images}


def curves(histories: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]) -> Section | None:
    """Training loss, soft Dice of the training batches if the loss contains it, and held-out mIoU over the steps.

    Args:
        histories: name of a fit to its history: "train" with "step" and "loss" (and "dice"), "held_out" with "step"
            and "miou".
    """
    histories = {name: history for name, history in histories.items() if history.get("train")}
    if not histories:
        return None
    dice = {name: _training_dice(history["train"]) for name, history in histories.items()}

    def draw() -> Figure:
        from cycler import cycler
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        crowded = len(histories) > 4  # a legend inside would hide the curves
        lines = math.ceil(len(histories) / _COLUMNS) if crowded else 0
        made = Figure(figsize=(9.4, 3.0 + 0.2 * lines), layout="constrained")
        several, validated = any(dice.values()), any(history.get("held_out") for history in histories.values())
        loss, *others = made.subplots(1, 1 + several + validated, squeeze=False)[0]
        middle, last = others[:several], others[several:]  # without validations there is no third plot
        styles = cycler(linestyle=["-", "--", ":"]) * rcParams["axes.prop_cycle"]  # the same style in all three plots
        for (name, history), style in zip(histories.items(), cycle(styles), strict=False):
            _line(loss, _smooth(history["train"]), "loss", 1.0, label=name, **style)
            for axis in middle:
                _line(axis, dice[name], "dice", 100.0, label=name, **style)
            for axis in last:
                _line(axis, history.get("held_out", ()), "miou", 100.0, label=name, **style)
        loss.set(xlabel="step", ylabel="loss, running mean")
        for axis in last:
            axis.set(xlabel="step", ylabel="mIoU, %")
        for axis in middle:
            axis.set(xlabel="step", ylabel="soft Dice, %, running mean")
        titles = [
            "training loss",
            *["Dice of training batches"] * several,
            *["held-out mIoU"] * validated,
        ]
        for axis, title in zip((loss, *middle, *last), titles, strict=True):
            axis.grid(alpha=0.25)
            axis.set_title(title, fontsize=10)
        if crowded:
            names = loss.get_legend_handles_labels()
            made.legend(*names, loc="outside lower center", ncols=_COLUMNS, frameon=False, fontsize=8)
        else:
            loss.legend(frameon=False)
        return made

    text = "mIoU is measured on the held-out images that choose the best state, if there are any."
    if any(dice.values()):
        text += " Dice of training batches is 1 - soft Dice loss, before the step."
    return figure("Training", text, draw, "curves of training loss and held-out mIoU over the steps")


def bars(rows: Sequence[Mapping[str, Any]], text: str) -> Section | None:
    """Dice of each method as a bar with its interval; None with a single method, or with too few masks.

    Args:
        rows: as `compare.rows_of` returns them, of one number of shots.
        text: text of the section.
    """
    if len(rows) < 2 or rows[0]["masks"] < MIN_OBJECTS:
        return None

    def draw() -> Figure:
        from matplotlib.figure import Figure

        made = Figure(figsize=(7.4, 0.34 * len(rows) + 0.9), layout="constrained")
        axis = made.subplots()
        for place, row in enumerate(rows):
            low, high = _interval(row)
            reach = [[max(0.0, 100 * (row["dice"] - low))], [max(0.0, 100 * (high - row["dice"]))]]
            axis.barh(place, 100 * row["dice"], xerr=reach, height=0.62, capsize=3, alpha=0.85, ecolor="#88888e")
        axis.set_yticks(range(len(rows)), [row["title"] for row in rows])
        axis.invert_yaxis()
        axis.set(xlabel="Dice, %", xlim=(0, 100))
        axis.grid(alpha=0.25, axis="x")
        return made

    return figure("Dice of each method", f"{_ends(rows)} {text}".strip(), draw, "Dice of each method")


def learning_curve(rows: Sequence[Mapping[str, Any]], text: str) -> Section | None:
    """Dice over the number of shots, with 95 % intervals; a bar for each method with one number of shots.

    None with too few masks.

    Args:
        rows: as `compare.rows_of` returns them.
        text: text of the section.
    """
    titles = list(dict.fromkeys(row["title"] for row in rows))
    counts = sorted({row["shots"] for row in rows if row["shots"]})
    if len(counts) < 2:
        return bars(rows, text)
    if rows[0]["masks"] < MIN_OBJECTS:
        return None

    def draw() -> Figure:
        from matplotlib.figure import Figure

        made = Figure(figsize=(7.4, 3.6), layout="constrained")
        axis = made.subplots()
        for place, title in enumerate(titles):
            of_method = [row for row in rows if row["title"] == title]
            # a small shift, so that bars do not cover each other
            x = [row["shots"] * 1.012 ** (place - len(titles) / 2) for row in of_method]
            _points(axis, x, of_method, title)
        axis.set_xscale("log", base=2)
        axis.set_xticks(counts, [str(count) for count in counts])
        axis.set(xlabel="training masks", ylabel="Dice, %")
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return made

    return figure(
        "Learning curve", f"{_ends(rows)} {text}".strip(), draw, "Dice of each method over the number of training masks"
    )


def sweep(rows: Sequence[Mapping[str, Any]], values: Mapping[str, float], what: str) -> Section:
    """Dice over the value of one option, one line for each number of shots.

    Args:
        rows: as `compare.rows_of` returns them.
        values: title of a row to the value of the option.
        what: name of the option.
    """

    def draw() -> Figure:
        from matplotlib.figure import Figure

        made = Figure(figsize=(7.4, 3.4), layout="constrained")
        axis = made.subplots()
        for shots in dict.fromkeys(row["shots"] for row in rows):
            line = sorted((row for row in rows if row["shots"] == shots), key=lambda row: values[row["title"]])
            label = f"{shots} shots" if shots else "all images"
            _points(axis, [values[row["title"]] for row in line], line, label)
        axis.set(xlabel=what, ylabel="Dice, %")
        axis.grid(alpha=0.25)
        axis.legend(frameon=False)
        return made

    return figure(f"Dice over {what}", _ends(rows), draw, f"Dice over {what}")


def _interval(row: Mapping[str, Any]) -> Sequence[float]:
    """95 % interval of Dice: over seeds, with one seed over groups of images; without either, the value twice."""
    return row["dice_interval"] or row["dice_masks_interval"] or [row["dice"]] * 2


def _ends(rows: Sequence[Mapping[str, Any]]) -> str:
    return f"Lines: 95 % interval over {'seeds' if rows[0]['dice_interval'] else 'groups of images'}."


def _points(axis: Any, x: Sequence[float], rows: Sequence[Mapping[str, Any]], label: str) -> None:
    y = [100 * row["dice"] for row in rows]
    ends = [_interval(row) for row in rows]
    bars = [(value - 100 * low, 100 * high - value) for value, (low, high) in zip(y, ends, strict=True)]
    axis.errorbar(x, y, yerr=np.array(bars).clip(0).T, label=label, marker="o", ms=4, linewidth=1.5, capsize=3)


def _training_dice(records: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Running mean of 1 - Dice loss; empty if the loss has no Dice part."""
    if not all("dice" in record for record in records):
        return []
    smooth = _smooth([{"step": record["step"], "loss": record["dice"]} for record in records])
    return [{"step": record["step"], "dice": 1 - record["loss"]} for record in smooth]


def _line(axis: Any, records: Sequence[Mapping[str, float]], key: str, scale: float, **style: Any) -> None:
    points = [(record["step"], scale * record[key]) for record in records if record.get(key) is not None]
    if points:
        axis.plot(*zip(*points, strict=True), linewidth=1.6, marker="o" if len(points) < 30 else "", ms=3, **style)


def _smooth(records: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Running mean of the loss over a tenth of the curve, because single batches are noisy."""
    width = max(1, len(records) // 10)
    losses = np.array([record["loss"] for record in records], float)
    means = np.convolve(losses, np.ones(width) / width, "valid")
    ends = records[width - 1 :]
    return [{"step": record["step"], "loss": float(mean)} for record, mean in zip(ends, means, strict=True)]


def _figure_uri(made: Figure) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(made)
    stream = io.BytesIO()
    made.savefig(stream, format="png", dpi=130, transparent=True)
    return data_uri(stream.getvalue(), "png")


__all__ = ["bars", "curves", "figure", "learning_curve", "sweep"]
