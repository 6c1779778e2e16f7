"""Evaluations as tables of a report. Scores in percent, 95 % intervals in brackets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samtailor.errors import counted
from samtailor.evaluation.counting import count_text
from samtailor.evaluation.scores import MIN_OBJECTS, TOO_FEW, Evaluation, difference
from samtailor.masks.confusion import Confusion
from samtailor.report.page import Section

INSTANCE_HEAD = [
    *("", "AP50", "AP", "AP75", "precision", "recall", "false positives", "count error"),
    "objects / found / images / without objects",
]


def figures(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Summary of each evaluation by name; "differences" holds each one minus the first, paired."""
    summaries: dict[str, Any] = {name: evaluation.summary() for name, evaluation in evaluations.items()}
    first, *rest = evaluations
    summaries["differences"] = {name: difference(evaluations[name], evaluations[first]) for name in rest}
    return summaries


def headline(evaluations: Mapping[str, Evaluation], note: str = "") -> Section:
    """Table of all evaluations with 95 % intervals, and their paired differences to the first one."""
    scores = figures(evaluations)
    rows = []
    for name in evaluations:
        summary, change = scores[name], scores["differences"].get(name)
        cells: list[dict[str, Any]] = [
            {"text": name},
            _figure(summary, "miou"),
            {"text": _percent(summary["miou"]), "bar": _bar(summary)},
            *(_figure(summary, figure) for figure in ("oracle_miou", "dice", "paper", "boundary_iou")),
            {"text": "-"} if change is None else _figure(change, "miou", signed=True),
        ]
        if summary["masks"] < MIN_OBJECTS:
            cells = [{"text": name}, {"text": TOO_FEW}, *({"text": ""} for _ in cells[2:])]
        rows.append({"cells": cells})
    first = next(iter(evaluations))
    count = scores[first]
    prompts = ", ".join(dict.fromkeys(evaluation.prompt for evaluation in evaluations.values()))
    text = (
        f"{counted(count['masks'], 'mask')} in {counted(count['images'], 'image')} of "
        f"{counted(count['groups'], 'group')}, one prompt each ({prompts}). The predicted mask is the candidate "
        "with the highest predicted IoU; “oracle” is the best of the same candidates by the true mask."
    )
    end = (
        f"Percent, means over masks. Brackets: 95 % interval, bootstrap over {counted(count['groups'], 'group')} of "
        "images. Paper: Dice as in the papers of BLO-SAM and AM-SAM, on a grid of 64 x 64. "
        f"Change: difference to {first} on the same masks and prompts, paired."
    )
    return {
        "kind": "table",
        "title": "Before and after",
        "text": text,
        "head": ["", "mIoU", "0 … 100", "oracle mIoU", "Dice", "paper", "boundary IoU", "change of mIoU"],
        "rows": rows,
        "note": f"{end} {note}".strip(),
    }


def class_table(evaluations: Mapping[str, Evaluation]) -> Section | None:
    """mIoU and oracle per class; None with a single class."""
    summaries = {name: evaluation.summary() for name, evaluation in evaluations.items()}
    labels = list(next(iter(summaries.values()))["classes"])
    if len(labels) < 2:
        return None
    rows: list[dict[str, Any]] = []
    for label in labels:
        by_class = [summary["classes"][label] for summary in summaries.values()]
        cells = [c for s in by_class for c in (_figure(s, "miou"), _figure(s, "oracle_miou"))]
        if by_class[0]["masks"] < MIN_OBJECTS:
            cells = [{"text": TOO_FEW if index % 2 == 0 else ""} for index in range(len(cells))]
        rows.append({"cells": [{"text": label}, _count(by_class[0]), *cells]})
    macro = [c for s in summaries.values() for c in (_figure(s, "macro_miou"), _figure(s, "macro_oracle_miou"))]
    count = _count(next(iter(summaries.values())))
    rows.append({"cells": [{"text": "mean over classes"}, count, *macro], "strong": True})
    head = ["class", "masks / images / groups", *(h for name in summaries for h in (f"{name}, mIoU", "oracle"))]
    return {"kind": "table", "title": "Per class", "head": head, "rows": rows}


def seed_table(summaries: Mapping[str, Mapping[str, Any]]) -> Section:
    """mIoU of each seed, from `Comparison.summary`."""
    seeds = list(next(iter(summaries.values()))["seeds"])
    rows = []
    for name, summary in summaries.items():
        values = [summary["seeds"][seed] for seed in seeds]
        mean = {"text": _percent(float(np.mean(values))), "small": f"± {100 * np.std(values, ddof=1):.1f}"}
        rows.append({"cells": [{"text": name}, *({"text": _percent(v)} for v in values), mean]})
    head = ["", *(f"seed {seed}" for seed in seeds), "mean ± standard deviation"]
    return {"kind": "table", "title": "mIoU by seed", "head": head, "rows": rows}


def matrix(name: str, scores: Mapping[str, Any]) -> Section:
    """Adapters of one class on the masks of another, from `compare.cross_class`."""
    rows = [
        {"cells": [{"text": row}, *({"text": _percent(v)} for v in values)]}
        for row, values in zip(scores["rows"], scores["miou"], strict=True)
    ]
    text = "Row: class that the adapter was fitted on. Column: class of the masks. mIoU in percent."
    return {
        "kind": "table",
        "title": f"{name}: adapters on other classes",
        "text": text,
        "head": ["", *scores["columns"]],
        "rows": rows,
    }


def parameter_table(counts: Mapping[str, Any]) -> Section:
    """Number of parameters of each part (Kim et al., Table 4), from `compare.parameters`."""
    titles = {
        "image_encoder": "image encoder (frozen)",
        "prompt_encoder": "prompt encoder (frozen)",
        "mask_decoder": "mask decoder (frozen)",
        "base": "base model in total (frozen)",
        "plm": "PLM with a zero-initialized head (samtailor)",
        "plm_paper": "PLM of the paper",
        "pmm": "PMM (training only)",
    }
    rows = [{"cells": [{"text": title}, {"text": f"{counts[key]:,}"}]} for key, title in titles.items()]
    return {"kind": "table", "title": "Parameters", "head": ["part", "parameters"], "rows": rows}


def comparison_cells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the table of `compare.rows_of`, as text for the terminal, Markdown and the page."""
    several, shots = len(rows[0]["seeds"]) > 1, any(row["shots"] for row in rows)
    bounds = "interval" if several else "masks_interval"
    head = ["", *(["shots"] if shots else []), "Dice", "IoU", *(["sd"] if several else []), "change of Dice"]
    head += ["trainable", "fit, s", "encode, s", "MiB", "cached", "prompt"]
    cells = []
    for row in rows:
        cost, change = row["cost"], row["difference"]
        scores = [_with_bounds(row, name, bounds) for name in ("dice", "iou")]
        deviation = [_percent(row["dice_deviation"])] if several else []
        against = "-" if change is None else _with_bounds(change, "dice", bounds, signed=True)
        if row["masks"] < MIN_OBJECTS:
            scores, deviation, against = [TOO_FEW, ""], [""] * several, ""
        spent = [_number(cost["seconds"], 1), _number(cost["encode_seconds"], 1), _number(cost["peak_memory_mib"])]
        trainable = "-" if cost["parameters"] is None else f"{cost['parameters']:,}"
        prompt = row["prompt"] + (f" ({row['weights']})" if row["weights"] else "")
        start = [row["title"], *([str(row["shots"] or "all")] if shots else [])]
        cached = "yes" if cost["encoder_cached"] else "no"
        cells.append([*start, *scores, *deviation, against, trainable, *spent, cached, prompt])
    return head, cells


def comparison_note(rows: Sequence[Mapping[str, Any]], regions: bool) -> str:
    """The note below that table."""
    seeds, first = list(rows[0]["seeds"]), rows[0]["title"]
    interval = (
        "95 % over the seeds (Student's t)"
        if len(seeds) > 1
        else "95 %, bootstrap over groups of images; it does not include the variance between seeds"
    )
    truth = (
        "All methods are evaluated on one region per image and class (the union of its objects), because some of them "
        "predict only regions. "
        if regions
        else ""
    )
    return (
        f"{truth}Percent, mean over {counted(len(seeds), 'seed')} ({', '.join(seeds)}). Brackets: {interval}. "
        f"Change: difference to {first} on the same images, paired. Each row: {counted(rows[0]['masks'], 'mask')} in "
        f"{counted(rows[0]['images'], 'image')}. Prompt: source of the prompt at test time; mask-center is a click "
        "inside the true mask, an advantage over methods without a prompt. Fit, s: wall time of one fit including "
        "validation, without encoding. Encode, s: time to encode its images, once for all methods that share the "
        "cached embeddings. MiB: peak resident memory of the process during a fit, including Python, torch and the "
        "base model (on a GPU: peak memory allocated by torch)."
    )


def comparison(rows: Sequence[Mapping[str, Any]], regions: bool) -> Section:
    """The table of `compare.rows_of` as a section."""
    head, cells = comparison_cells(rows)
    lines = [{"cells": [{"text": text} for text in line]} for line in cells]
    note = comparison_note(rows, regions)
    return {"kind": "table", "title": "Methods", "head": head, "rows": lines, "note": note}


def instance_cells(summaries: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the table of `InstanceEvaluation.summary` by name, or of its `classes`, as text."""
    named = ("ap50", "ap", "ap75", "precision", "recall", "false_positive_rate")
    rows = []
    for name, one in summaries.items():
        cells = [_percent_with(one[figure], one.get(f"{figure}_interval")) for figure in named]
        cells.append(count_text(one))
        if one["objects"] < MIN_OBJECTS:
            cells = [TOO_FEW, *("" for _ in cells[1:])]
        rows.append([name, *cells, f"{one['objects']} / {one['found']} / {one['images']} / {one['empty_images']}"])
    return INSTANCE_HEAD, rows


def instance_note(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """The note below that table."""
    text = (
        "Percent. Mask AP as in COCO: mean over classes, for AP also over IoU thresholds 0.50 to 0.95, at most 100 "
        "predictions per class and image. Brackets: 95 %, bootstrap over groups of images. Precision, recall (IoU of "
        "at least 0.5) and found: predictions above the threshold, as predict --prompt auto writes them. False "
        "positives: fraction of the images without an object in which something is found. Count error: mean absolute "
        "difference between the numbers of found and true objects of an image, summed over classes; bias: its mean "
        "with the sign, positive where too many are found."
    )
    more = [
        f"{name} {_percent(one['without_limit']['ap50'])}"
        for name, one in summaries.items()
        if one["objects"] >= MIN_OBJECTS and one["without_limit"]["ap50"] != one["ap50"]
    ]
    return text + (f" AP50 without the limit of 100: {', '.join(more)}." if more else "")


def instance_table(summaries: Mapping[str, Mapping[str, Any]]) -> Section:
    """The table of automatic mode as a section."""
    return _table("Automatic mode", summaries, instance_note(summaries))


def instance_classes(summary: Mapping[str, Any]) -> Section:
    """The table of automatic mode by class."""
    return _table("By class", summary["classes"], "")


def confusion_table(confusion: Confusion) -> Section:
    """Which class's objects or pixels are covered by the answers of which class."""
    head, rows = confusion.cells()
    lines = [{"cells": [{"text": text} for text in row]} for row in rows]
    note = (
        f"Row: class of the annotations. Column: class of the answers. Percent of the {confusion.unit} of the row. "
        "Last row: percent of the answers of a class where nothing is annotated."
    )
    return {"kind": "table", "title": "Confusion between classes", "head": head, "rows": lines, "note": note}


def _table(title: str, summaries: Mapping[str, Mapping[str, Any]], end: str) -> Section:
    head, rows = instance_cells(summaries)
    lines = [{"cells": [{"text": text} for text in row]} for row in rows]
    return {"kind": "table", "title": title, "head": head, "rows": lines, "note": end}


def _with_bounds(scores: Mapping[str, Any], name: str, bounds: str, signed: bool = False) -> str:
    return _percent_with(scores[name], scores[f"{name}_{bounds}"], signed)


def _percent_with(value: float | None, interval: Sequence[float] | None, signed: bool = False) -> str:
    bounds = "" if interval is None else " [" + ", ".join(_percent(b, signed) for b in interval) + "]"
    return _percent(value, signed) + ("" if value is None else bounds)


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _figure(scores: Mapping[str, Any], name: str, signed: bool = False) -> dict[str, Any]:
    bounds = scores[f"{name}_interval"]
    small = "" if bounds is None else "[" + ", ".join(_percent(b, signed) for b in bounds) + "]"
    return {"text": _percent(scores[name], signed), "small": small}


def _count(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": " / ".join(str(scores[name]) for name in ("masks", "images", "groups"))}


def _bar(scores: Mapping[str, Any]) -> dict[str, float | None]:
    low, high = scores["miou_interval"] or (None, None)
    return {"mean": scores["miou"], "low": low, "high": high}


def _percent(value: float | None, signed: bool = False) -> str:
    if value is None:
        return "-"
    return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"


__all__ = [
    "class_table",
    "comparison",
    "comparison_cells",
    "comparison_note",
    "confusion_table",
    "figures",
    "headline",
    "instance_cells",
    "instance_classes",
    "instance_note",
    "instance_table",
    "matrix",
    "parameter_table",
    "seed_table",
]
