"""Evaluations as tables of a report. Figures in percent, 95 % intervals in brackets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samtailor.errors import counted
from samtailor.evaluation.scores import Evaluation, difference

Section = dict[str, Any]
"""One section of a page, as `templates/report.html` takes it."""


def figures(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Summary of every evaluation by name, and under `differences` each one minus the first, paired."""
    found: dict[str, Any] = {name: evaluation.summary() for name, evaluation in evaluations.items()}
    first, *others = evaluations
    found["differences"] = {name: difference(evaluations[name], evaluations[first]) for name in others}
    return found


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
            {"text": _percent(summary["paper"])},
            {"text": _percent(summary["boundary_iou"])},
            {"text": "-"} if change is None else _figure(change, "miou", signed=True),
        ]
        rows.append({"cells": cells})
    first = next(iter(evaluations))
    count = found[first]
    prompts = ", ".join(dict.fromkeys(evaluation.prompt for evaluation in evaluations.values()))
    text = (
        f"{counted(count['masks'], 'mask')} in {counted(count['images'], 'image')}, one prompt each "
        f"({prompts}). The mask is the one with the highest predicted IoU; "
        "“oracle” takes the best of the same candidates by the truth."
    )
    end = (
        f"In percent, means over masks. Brackets: 95 % interval, bootstrap over {_groups(count)} of images. "
        f"Paper: Dice as BLO-SAM and AM-SAM count it, on a grid of 64 x 64. Change: to {first} on the same masks and "
        "clicks, paired."
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
    """Cross-model testing, from `compare.cross_class`."""
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


def comparison_cells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and cells, as text, of the table of `compare.rows_of`: for terminal, Markdown and page alike."""
    several, shots = len(rows[0]["seeds"]) > 1, any(row["shots"] for row in rows)
    bounds = "interval" if several else "masks_interval"
    head = ["", *(["shots"] if shots else []), "Dice", "IoU", *(["sd"] if several else []), "change of Dice"]
    head += ["learns", "fit, s", "encode, s", "MiB", "cached", "asked with"]
    cells = []
    for row in rows:
        cost, change = row["cost"], row["difference"]
        figures = [_with_bounds(row, name, bounds) for name in ("dice", "iou")]
        spread = [_percent(row["dice_deviation"])] if several else []
        against = "-" if change is None else _with_bounds(change, "dice", bounds, signed=True)
        spent = [_number(cost["seconds"], 1), _number(cost["encode_seconds"], 1), _number(cost["peak_memory_mib"])]
        learns = "-" if cost["parameters"] is None else f"{cost['parameters']:,}"
        asked = row["prompt"] + (f" ({row['weights']})" if row["weights"] else "")
        start = [row["title"], *([str(row["shots"] or "all")] if shots else [])]
        cached = "yes" if cost["encoder_cached"] else "no"
        cells.append([*start, *figures, *spread, against, learns, *spent, cached, asked])
    return head, cells


def comparison_note(rows: Sequence[Mapping[str, Any]], regions: bool) -> str:
    """What has to be known to read that table."""
    seeds, first = list(rows[0]["seeds"]), rows[0]["title"]
    interval = (
        "95 % over the seeds (Student's t)"
        if len(seeds) > 1
        else "95 %, bootstrap over groups of images; of one seed nothing is known about another draw"
    )
    judged = (
        "Everybody is judged on one region an image and class, the objects of a class joined, because some methods "
        "answer only so. "
        if regions
        else ""
    )
    return (
        f"{judged}Percent; {counted(len(seeds), 'seed')} ({', '.join(seeds)}), mean over them; brackets: {interval}. "
        f"Change: to {first} on the same images, paired. Masks judged in each row: {rows[0]['masks']} in "
        f"{counted(rows[0]['images'], 'image')}. Asked with: where the prompt comes from at test; mask-center is a "
        "click inside the true mask, which no method without a prompt is given. Fit, s: wall seconds of one fit with "
        "its validations, without encoding. Encode, s: what its images take to encode, once for all methods that "
        "share the cached embeddings. MiB: highest resident memory of the whole process during a fit, Python, torch "
        "and base included (on a GPU: the most that torch had allocated)."
    )


def comparison(rows: Sequence[Mapping[str, Any]], regions: bool) -> Section:
    """The table of `compare.rows_of` as a section."""
    head, cells = comparison_cells(rows)
    listed = [{"cells": [{"text": text} for text in line]} for line in cells]
    note = comparison_note(rows, regions)
    return {"kind": "table", "title": "Methods", "head": head, "rows": listed, "note": note}


def _with_bounds(found: Mapping[str, Any], name: str, bounds: str, signed: bool = False) -> str:
    interval = found[f"{name}_{bounds}"]
    small = "" if interval is None else " [" + ", ".join(_percent(b, signed) for b in interval) + "]"
    return _percent(found[name], signed) + small


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _figure(found: Mapping[str, Any], name: str, signed: bool = False) -> dict[str, str]:
    bounds = found[f"{name}_interval"]
    small = "" if bounds is None else "[" + ", ".join(_percent(b, signed) for b in bounds) + "]"
    return {"text": _percent(found[name], signed), "small": small}


def _groups(found: Mapping[str, Any]) -> str:
    return counted(found["groups"], "group")


def _macro(found: Mapping[str, Any], name: str) -> dict[str, str]:
    return _figure(found, f"macro_{name}")


def _bar(found: Mapping[str, Any]) -> dict[str, float | None]:
    low, high = found["miou_interval"] or (None, None)
    return {"mean": found["miou"], "low": low, "high": high}


def _percent(value: float | None, signed: bool = False) -> str:
    if value is None:
        return "-"
    return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"


__all__ = [
    "Section",
    "class_table",
    "comparison",
    "comparison_cells",
    "comparison_note",
    "figures",
    "headline",
    "matrix",
    "parameter_table",
    "seed_table",
]
