"""Automatic instances in a report: the table of mask AP, the same by class, and the sheet of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samtailor.errors import counted
from samtailor.evaluation.instances import InstanceEvaluation
from samtailor.masks.average_precision import ImageResult
from samtailor.masks.overlay import fit, overlay
from samtailor.report.panels import sheet
from samtailor.report.tables import Section
from samtailor.structures import Sample

HEAD = ["", "AP50", "AP", "AP75", "precision", "recall", "false positives", "objects / found / images / empty"]
_SIDE = 420  # pixels of an image of the sheet


def cells(summaries: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and cells, as text, of the table of `InstanceEvaluation.summary` by name; also of its `classes`."""
    rows = [
        [
            name,
            *(_percent(one[figure], one.get(f"{figure}_interval")) for figure in ("ap50", "ap", "ap75")),
            *(_percent(one[figure]) for figure in ("precision", "recall", "false_positive_rate")),
            f"{one['objects']} / {one['found']} / {one['images']} / {one['empty_images']}",
        ]
        for name, one in summaries.items()
    ]
    return HEAD, rows


def note(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """What has to be known to read the table."""
    text = (
        "Percent. Mask AP as COCO has it: mean over classes and, of AP, over IoU 0.50 to 0.95; the likeliest 100 "
        "answers of a class and image; brackets: 95 %, bootstrap over groups of images. Precision, recall "
        "(IoU at least 0.5) and found: of what predict --prompt auto would give. False positives: share of the "
        "images without the object in which anything is found."
    )
    more = [
        f"{name} {_percent(one['without_limit']['ap50'])}"
        for name, one in summaries.items()
        if one["without_limit"]["ap50"] != one["ap50"]
    ]
    return text + (f" AP50 without that limit of 100: {', '.join(more)}." if more else "")


def instance_table(summaries: Mapping[str, Mapping[str, Any]]) -> Section:
    """The table as a section."""
    return _table("Found without a prompt", summaries, note(summaries))


def instance_classes(summary: Mapping[str, Any]) -> Section:
    """The same by class."""
    return _table("By class", summary["classes"], "")


def instance_sheet(evaluation: InstanceEvaluation, samples: Sequence[Sample], count: int = 8) -> Section:
    """Images at even ranks of their own F1, the worst first: what would be given, and the true outlines."""
    by_id = {sample.id: sample for sample in samples}
    rows = []
    for name, score, image in ranked(evaluation, count):
        truth, given = panels(by_id[image.id].image, image)
        caption = f"{counted(len(image.truths), 'true object')}"
        found = sum(one.accepted for one in image.predictions)
        rows.append((name, f"{image.id} · F1 {100 * score:.0f}", [(truth, caption), (given, f"{found} found")]))
    text = (
        "Chosen by rank of F1 (IoU at least 0.5) within the image, not by hand. Left: true objects. Right: what "
        "predict --prompt auto gives; green: true outlines."
    )
    return sheet("Images", text, rows)


def ranked(evaluation: InstanceEvaluation, count: int) -> list[tuple[str, float, ImageResult]]:
    """(rank in words, F1, image) at even ranks, the worst first; images without an object are left out."""
    scored = []
    for image in evaluation.images:
        if image.truths:
            one = InstanceEvaluation((image,), evaluation.classes).accepted_f1()
            scored.append((one, image))
    scored.sort(key=lambda pair: pair[0])
    places = sorted({round(i * (len(scored) - 1) / max(count - 1, 1)) for i in range(count)})
    return [(f"{place + 1} of {len(scored)}", *scored[place]) for place in places]


def panels(image: np.ndarray, answered: ImageResult) -> tuple[np.ndarray, np.ndarray]:
    """The image with its true objects, and with what would be given; uint8 RGB of one size."""
    truths = [one.mask for one in answered.truths]
    given = [one.mask for one in answered.predictions if one.accepted]
    scale = fit(image, _SIDE)
    size = scale.shape[1], scale.shape[0]
    truths, given = ([_resized(mask, size) for mask in masks] for masks in (truths, given))
    return overlay(scale, truths), overlay(scale, given, outlines=truths, alpha=0.35)


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import cv2

    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0


def _table(title: str, summaries: Mapping[str, Mapping[str, Any]], end: str) -> Section:
    head, rows = cells(summaries)
    listed = [{"cells": [{"text": text} for text in row]} for row in rows]
    return {"kind": "table", "title": title, "head": head, "rows": listed, "note": end}


def _percent(value: float | None, interval: Sequence[float] | None = None) -> str:
    if value is None:
        return "-"
    bounds = "" if interval is None else " [" + ", ".join(f"{100 * b:.1f}" for b in interval) + "]"
    return f"{100 * value:.1f}{bounds}"


__all__ = ["cells", "instance_classes", "instance_sheet", "instance_table", "note", "panels", "ranked"]
