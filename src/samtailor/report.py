"""Evaluations to one self-contained HTML page (no script, nothing from elsewhere) and one JSON.

The page is a title and a list of sections; each function here makes one. Pictures are chosen by rank, never by hand.
"""

from __future__ import annotations

import base64
import io
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from samtailor import __version__
from samtailor.data.picture import replacing
from samtailor.evaluate import Evaluation, difference
from samtailor.overlay import around, fit, overlay
from samtailor.types import Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Section = dict[str, Any]
_SHARES = (("worst", 0.0), ("lower quarter", 0.25), ("median", 0.5), ("upper quarter", 0.75), ("best", 1.0))


def figures(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Summary of every evaluation by name, and under `differences` each one minus the first, paired."""
    found: dict[str, Any] = {name: evaluation.summary() for name, evaluation in evaluations.items()}
    first, *others = evaluations
    found["differences"] = {name: difference(evaluations[name], evaluations[first]) for name in others}
    return found


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    found = {"samtailor": __version__, "python": platform.python_version()}
    for name in ("torch", "transformers", "numpy", "opencv-python-headless"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section | None]) -> None:
    """Write the page, at once (never half a file); sections that are None are left out."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
    )
    template = environment.get_template("report.html")
    html = template.render(title=title, lead=lead, sections=[s for s in sections if s], version=__version__)
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def headline(evaluations: Mapping[str, Evaluation], note: str = "") -> Section:
    """Table of all evaluations with 95 % intervals; differences to the first are paired."""
    found = figures(evaluations)
    rows = []
    for name in evaluations:
        summary, change = found[name], found["differences"].get(name)
        cells = [
            {"text": name},
            _figure(summary, "miou"),
            {"text": _percent(summary["miou"]), "bar": _bar(summary)},
            _figure(summary, "oracle_miou"),
            _figure(summary, "dice"),
            {"text": _percent(summary["boundary_iou"])},
            {"text": "-"} if change is None else _figure(change, "miou", signed=True),
        ]
        rows.append({"cells": cells})
    first = next(iter(evaluations))
    count = found[first]
    text = (
        f"{count['masks']} masks in {count['pictures']} pictures, one prompt each "
        f"({next(iter(evaluations.values())).prompt}). The mask is the one with the highest predicted IoU; "
        "“oracle” takes the best of the same candidates by the truth."
    )
    end = (
        f"In percent, means over masks. Brackets: 95 % interval, bootstrap over {count['groups']} groups of pictures. "
        f"Change: to {first} on the same masks and clicks, paired."
    )
    return {
        "kind": "table",
        "title": "Before and after",
        "text": text,
        "head": ["", "mIoU", "0 … 100", "oracle mIoU", "Dice", "boundary IoU", "change of mIoU"],
        "rows": rows,
        "note": f"{end} {note}".strip(),
    }


def class_table(evaluations: Mapping[str, Evaluation]) -> Section | None:
    """mIoU and oracle per class; None with a single class."""
    found = {name: evaluation.summary() for name, evaluation in evaluations.items()}
    labels = list(next(iter(found.values()))["classes"])
    if len(labels) < 2:
        return None
    rows = []
    for label in labels:
        own = [summary["classes"][label] for summary in found.values()]
        cells = [c for s in own for c in (_figure(s, "miou"), {"text": _percent(s["oracle_miou"])})]
        rows.append({"cells": [{"text": label}, {"text": str(own[0]["masks"])}, *cells]})
    macro = [c for s in found.values() for c in (_macro(s, "miou"), {"text": _percent(s["macro_oracle_miou"])})]
    masks = str(next(iter(found.values()))["masks"])
    rows.append({"cells": [{"text": "mean over classes"}, {"text": masks}, *macro], "strong": True})
    head = ["class", "masks", *(h for name in found for h in (f"{name}, mIoU", "oracle"))]
    return {"kind": "table", "title": "Per class", "head": head, "rows": rows}


def seed_table(summaries: Mapping[str, Mapping[str, Any]]) -> Section:
    """mIoU of every seed, from `Comparison.summary`."""
    seeds = list(next(iter(summaries.values()))["seeds"])
    rows = []
    for name, summary in summaries.items():
        values = [summary["seeds"][seed] for seed in seeds]
        spread = {"text": _percent(float(np.mean(values))), "small": f"± {100 * np.std(values, ddof=1):.1f}"}
        rows.append({"cells": [{"text": name}, *({"text": _percent(v)} for v in values), spread]})
    head = ["", *(f"seed {seed}" for seed in seeds), "mean ± standard deviation"]
    return {"kind": "table", "title": "mIoU by seed", "head": head, "rows": rows}


def matrix(name: str, found: Mapping[str, Any]) -> Section:
    """Cross-model testing, from `compare.cross_model`."""
    rows = [
        {"cells": [{"text": row}, *({"text": _percent(v)} for v in values)]}
        for row, values in zip(found["rows"], found["miou"], strict=True)
    ]
    text = "Row: whose adapter. Column: the class that is asked for. mIoU in percent."
    return {
        "kind": "table",
        "title": f"{name}: one class's adapter on another",
        "text": text,
        "head": ["", *found["columns"]],
        "rows": rows,
    }


def parameter_table(counts: Mapping[str, Any]) -> Section:
    """What every part weighs (Kim et al., Table 4), from `compare.parameters`."""
    titles = {
        "image_encoder": "image encoder (frozen)",
        "prompt_encoder": "prompt encoder (frozen)",
        "mask_decoder": "mask decoder (frozen)",
        "base": "base in all (frozen)",
        "plm": "PLM with a zero-initialised head (here)",
        "plm_paper": "PLM as in the paper",
        "pmm": "PMM (only in training)",
    }
    rows = [{"cells": [{"text": title}, {"text": f"{counts[key]:,}"}]} for key, title in titles.items()]
    return {"kind": "table", "title": "Parameters", "head": ["part", "numbers"], "rows": rows}


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
    """Sheet of pictures at fixed ranks of the last evaluation: truth with its click, then what each answered.

    Args:
        masks_of: (name of the evaluation, sample, index of the mask) to (chosen mask, click points (K, 3)).
    """
    last = list(evaluations)[-1]
    by_id = {sample.id: sample for sample in samples}
    sheet = []
    for rank, row in cases(evaluations[last], shares):
        score = evaluations[last].rows[row]
        sample = by_id[score.id]
        target, picture = sample.of(classes)[score.index], sample.image
        view = around(target.box, *picture.shape[:2])
        panels = []
        for name, evaluation in evaluations.items():
            mask, points = masks_of(name, sample, score.index)
            if not panels:
                seen = overlay(picture, [], outlines=[target.mask], points=points)
                panels.append(_panel(seen[view], "truth and prompt", f"{sample.id}: true outline"))
            drawn = overlay(picture, [mask], outlines=[target.mask])
            iou = 100 * evaluation.rows[row].iou
            panels.append(_panel(drawn[view], f"{name}: IoU {iou:.0f}", f"{sample.id}: mask of {name}"))
        sheet.append({"rank": rank, "name": f"{sample.id} · {target.label}", "panels": panels})
    text = (
        f"Chosen by rank of IoU under {last}, not by hand: the worst, the quartiles and the best of "
        f"{len(evaluations[last].rows)} held-out masks. Green: true outline. Blue: answer."
    )
    return {"kind": "sheet", "title": "Pictures", "text": text, "cases": sheet}


def sheet(title: str, text: str, rows: Sequence[tuple[str, str, Sequence[tuple[np.ndarray, str]]]]) -> Section:
    """Any sheet of pictures: (rank, name, [(uint8 RGB picture, caption), ...]) a row."""
    listed = [
        {"rank": rank, "name": name, "panels": [_panel(picture, caption, caption) for picture, caption in panels]}
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
    """Loss and held-out mIoU over the steps.

    Args:
        histories: name of a fit to its history: "train" with "step" and "loss", "held_out" with "step" and "miou".
    """
    histories = {name: found for name, found in histories.items() if found.get("train")}
    if not histories:
        return None

    def draw() -> Figure:
        from matplotlib.figure import Figure

        made = Figure(figsize=(9.4, 3.0), layout="constrained")
        loss, miou = made.subplots(1, 2)
        for name, found in histories.items():
            _line(loss, _smooth(found["train"]), "loss", name, 1.0)
            _line(miou, found.get("held_out", ()), "miou", name, 100.0)
        loss.set(xlabel="step", ylabel="loss, running mean")
        miou.set(xlabel="step", ylabel="mIoU, %")
        for axis, title in ((loss, "training loss"), (miou, "mIoU of held-out pictures")):
            axis.grid(alpha=0.25)
            axis.set_title(title, fontsize=10)
        miou.legend(frameon=False)
        return made

    return figure("Training", "", draw, "curves of training loss and held-out mIoU over the steps")


def settings(title: str, pairs: Mapping[str, Any], long: Mapping[str, Any] | None = None, note: str = "") -> Section:
    """A list of names and values; long values (ids of a split) fold away."""
    shown = [(str(k), _plain(v)) for k, v in pairs.items() if v is not None]
    folded = [(str(k), _plain(v)) for k, v in (long or {}).items() if v]
    return {"kind": "settings", "title": title, "pairs": shown, "long": folded, "note": note}


def _line(axis: Any, records: Sequence[Mapping[str, float]], key: str, name: str, scale: float) -> None:
    points = [(record["step"], scale * record[key]) for record in records if record.get(key) is not None]
    if points:
        axis.plot(*zip(*points, strict=True), label=name, linewidth=1.6, marker="o" if len(points) < 30 else "", ms=3)


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


def _panel(picture: np.ndarray, caption: str, alt: str) -> dict[str, str]:
    stream = io.BytesIO()
    Image.fromarray(fit(picture, 440)).save(stream, format="JPEG", quality=84)
    return {"image": _uri(stream.getvalue(), "jpeg"), "caption": caption, "alt": alt}


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _figure(found: Mapping[str, Any], name: str, signed: bool = False) -> dict[str, str]:
    bounds = found[f"{name}_interval"]
    small = "" if bounds is None else "[" + ", ".join(_percent(b, signed) for b in bounds) + "]"
    return {"text": _percent(found[name], signed), "small": small}


def _macro(found: Mapping[str, Any], name: str) -> dict[str, str]:
    return _figure(found, f"macro_{name}")


def _bar(found: Mapping[str, Any]) -> dict[str, float | None]:
    low, high = found["miou_interval"] or (None, None)
    return {"mean": found["miou"], "low": low, "high": high}


def _percent(value: float | None, signed: bool = False) -> str:
    if value is None:
        return "-"
    return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


__all__ = [
    "cases",
    "class_table",
    "curves",
    "figure",
    "figures",
    "headline",
    "matrix",
    "overlays",
    "parameter_table",
    "seed_table",
    "settings",
    "sheet",
    "versions",
    "write_page",
]
