"""Drawings of a report: sheets of images and plots. Images are chosen by rank, never by hand."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from samtailor.errors import counted
from samtailor.evaluation.scores import Evaluation
from samtailor.masks.overlay import around, fit, overlay
from samtailor.report.tables import Section
from samtailor.structures import Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHARES = (("worst", 0.0), ("lower quarter", 0.25), ("median", 0.5), ("upper quarter", 0.75), ("best", 1.0))
_COLUMNS = 4  # of a legend below the plots


def cases(evaluation: Evaluation, shares: Sequence[tuple[str, float]] = _SHARES) -> list[tuple[str, int]]:
    """(name of the rank, index of the row) at given ranks of IoU, each row once."""
    order = np.argsort(evaluation.values("miou"), kind="stable")
    found: dict[int, str] = {}
    for name, share in shares:
        row = int(order[round(share * (len(order) - 1))])
        found.setdefault(row, name)
    return [(name, row) for row, name in found.items()]


def overlays(
    evaluations: Mapping[str, Evaluation],
    samples: Sequence[Sample],
    classes: Sequence[str] | None,
    masks_of: Callable[[str, Sample, int], tuple[np.ndarray, np.ndarray]],
    shares: Sequence[tuple[str, float]] = _SHARES,
) -> Section:
    """Sheet of images at fixed ranks of the last evaluation: truth with its click, then what each answered.

    Args:
        masks_of: (name of the evaluation, sample, index of the mask) to (chosen mask, click points (K, 3)).
    """
    last = list(evaluations)[-1]
    by_id = {sample.id: sample for sample in samples}
    sheet = []
    for rank, row in cases(evaluations[last], shares):
        score = evaluations[last].rows[row]
        sample = by_id[score.id]
        target, image = sample.of(classes)[score.index], sample.image
        view = around(target.box, *image.shape[:2])
        panels = []
        for name, evaluation in evaluations.items():
            mask, points = masks_of(name, sample, score.index)
            if not panels:
                seen = overlay(image, [], outlines=[target.mask], points=points)
                panels.append(_panel(seen[view], "truth and prompt", f"{sample.id}: true outline"))
            drawn = overlay(image, [mask], outlines=[target.mask])
            iou = 100 * evaluation.rows[row].iou
            panels.append(_panel(drawn[view], f"{name}: IoU {iou:.0f}", f"{sample.id}: mask of {name}"))
        sheet.append({"rank": rank, "name": f"{sample.id} · {target.label}", "panels": panels})
    text = (
        f"Chosen by rank of IoU under {last}, not by hand: the worst, the quartiles and the best of "
        f"{counted(len(evaluations[last].rows), 'held-out mask')}. Green: true outline. Blue: answer."
    )
    return {"kind": "sheet", "title": "Images", "text": text, "cases": sheet}


def sheet(title: str, text: str, rows: Sequence[tuple[str, str, Sequence[tuple[np.ndarray, str]]]]) -> Section:
    """Any sheet of images: (rank, name, [(uint8 RGB image, caption), ...]) a row."""
    listed = [
        {"rank": rank, "name": name, "panels": [_panel(image, caption, caption) for image, caption in panels]}
        for rank, name, panels in rows
    ]
    return {"kind": "sheet", "title": title, "text": text, "cases": listed}


def figure(title: str, text: str, draw: Callable[[], Figure], alt: str) -> Section:
    """A matplotlib figure, drawn once for light and once for dark pages."""
    import matplotlib as mpl

    images = {}
    for mode, ink in (("light", "#3a3a40"), ("dark", "#c8c8d0")):
        style = dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), ink
        ) | {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}
        with mpl.rc_context(style):
            images[mode] = _figure_uri(draw())
    return {"kind": "figure", "title": title, "text": text, "alt": alt, **images}


def curves(histories: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]) -> Section | None:
    """Loss, Dice of the training batches where the loss has it (1 - soft Dice loss) and held-out mIoU over the steps.

    Args:
        histories: name of a fit to its history: "train" with "step" and "loss" (and "dice"), "held_out" with "step"
            and "miou".
    """
    histories = {name: found for name, found in histories.items() if found.get("train")}
    if not histories:
        return None
    learnt = {name: _training_dice(found["train"]) for name, found in histories.items()}

    def draw() -> Figure:
        from cycler import cycler
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        crowded = len(histories) > 4  # a method for each class: names inside would hide the curves
        lines = math.ceil(len(histories) / _COLUMNS) if crowded else 0
        made = Figure(figsize=(9.4, 3.0 + 0.2 * lines), layout="constrained")
        several = any(learnt.values())
        loss, *middle, miou = made.subplots(1, 2 + several)
        styles = cycler(linestyle=["-", "--", ":"]) * rcParams["axes.prop_cycle"]  # one name, one style in all three
        for (name, found), style in zip(histories.items(), cycle(styles), strict=False):
            _line(loss, _smooth(found["train"]), "loss", 1.0, label=name, **style)
            for axis in middle:
                _line(axis, learnt[name], "dice", 100.0, label=name, **style)
            _line(miou, found.get("held_out", ()), "miou", 100.0, label=name, **style)
        loss.set(xlabel="step", ylabel="loss, running mean")
        miou.set(xlabel="step", ylabel="mIoU, %")
        for axis in middle:
            axis.set(xlabel="step", ylabel="soft Dice, %, running mean")
        titles = [
            "training loss",
            *["Dice of training batches"] * several,
            "held-out mIoU",
        ]
        for axis, title in zip((loss, *middle, miou), titles, strict=True):
            axis.grid(alpha=0.25)
            axis.set_title(title, fontsize=10)
        if crowded:
            names = loss.get_legend_handles_labels()
            made.legend(*names, loc="outside lower center", ncols=_COLUMNS, frameon=False, fontsize=8)
        else:
            loss.legend(frameon=False)
        return made

    text = "mIoU: of the images that choose the state, where there are any."
    if any(learnt.values()):
        text += " Dice of training batches: 1 - soft Dice loss, before the step."
    return figure("Training", text, draw, "curves of training loss and held-out mIoU over the steps")


def learning_curve(rows: Sequence[Mapping[str, Any]], text: str) -> Section | None:
    """Dice over the number of shots, bars: 95 % over seeds; None with one number of shots.

    Args:
        rows: of `compare.rows_of`.
        text: what it says.
    """
    titles = list(dict.fromkeys(row["title"] for row in rows))
    counts = sorted({row["shots"] for row in rows if row["shots"]})
    if len(counts) < 2:
        return None

    def draw() -> Figure:
        from matplotlib.figure import Figure

        made = Figure(figsize=(7.4, 3.6), layout="constrained")
        axis = made.subplots()
        for place, title in enumerate(titles):
            own = [row for row in rows if row["title"] == title]
            x = [row["shots"] * 1.012 ** (place - len(titles) / 2) for row in own]  # bars beside each other
            _points(axis, x, own, title)
        axis.set_xscale("log", base=2)
        axis.set_xticks(counts, [str(count) for count in counts])
        axis.set(xlabel="masks to fit on", ylabel="Dice, %")
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return made

    return figure("Learning curve", text, draw, "Dice of each method over the number of masks it was fitted on")


def sweep(rows: Sequence[Mapping[str, Any]], values: Mapping[str, float], what: str) -> Section:
    """Dice over the value of one option, one line a number of shots.

    Args:
        rows: of `compare.rows_of`.
        values: title of a row to the option's value.
        what: name of the option.
    """

    def draw() -> Figure:
        from matplotlib.figure import Figure

        made = Figure(figsize=(7.4, 3.4), layout="constrained")
        axis = made.subplots()
        for shots in dict.fromkeys(row["shots"] for row in rows):
            own = sorted((row for row in rows if row["shots"] == shots), key=lambda row: values[row["title"]])
            _points(axis, [values[row["title"]] for row in own], own, f"{shots} shots" if shots else "all images")
        axis.set(xlabel=what, ylabel="Dice, %")
        axis.grid(alpha=0.25)
        axis.legend(frameon=False)
        return made

    return figure(f"Dice over {what}", "Bars: 95 % over seeds.", draw, f"Dice over {what}")


def _points(axis: Any, x: Sequence[float], rows: Sequence[Mapping[str, Any]], label: str) -> None:
    y = [100 * row["dice"] for row in rows]
    ends = [row["dice_interval"] or [row["dice"]] * 2 for row in rows]
    bars = [(value - 100 * low, 100 * high - value) for value, (low, high) in zip(y, ends, strict=True)]
    axis.errorbar(x, y, yerr=np.array(bars).clip(0).T, label=label, marker="o", ms=4, linewidth=1.5, capsize=3)


def _training_dice(records: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Running mean of 1 - Dice loss; empty where the loss has no such part."""
    if not all("dice" in record for record in records):
        return []
    smooth = _smooth([{"step": record["step"], "loss": record["dice"]} for record in records])
    return [{"step": record["step"], "dice": 1 - record["loss"]} for record in smooth]


def _line(axis: Any, records: Sequence[Mapping[str, float]], key: str, scale: float, **style: Any) -> None:
    points = [(record["step"], scale * record[key]) for record in records if record.get(key) is not None]
    if points:
        axis.plot(*zip(*points, strict=True), linewidth=1.6, marker="o" if len(points) < 30 else "", ms=3, **style)


def _smooth(records: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Running mean of the loss over a tenth of the curve: single batches say little."""
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
    return _uri(stream.getvalue(), "png")


def _panel(image: np.ndarray, caption: str, alt: str) -> dict[str, str]:
    stream = io.BytesIO()
    Image.fromarray(fit(image, 440)).save(stream, format="JPEG", quality=84)
    return {"image": _uri(stream.getvalue(), "jpeg"), "caption": caption, "alt": alt}


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


__all__ = ["cases", "curves", "figure", "learning_curve", "overlays", "sheet", "sweep"]
