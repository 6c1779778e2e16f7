"""Exported COCO labels against the truth, read by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hour.truth import Truth


def judge(export: Path, truth: Truth, only: set[str] | None = None) -> dict[str, float]:
    """AP50 (all answers of one score), F1 at IoU 0.5, mean IoU of the matched and of all true objects.

    Args:
        export: the zip that the page gave.
        truth: the true objects.
        only: stems of the images that count; None: all that were exported.
    """
    found = _read(export)
    if only is not None:
        found.imgs = {i: one for i, one in found.imgs.items() if Path(one["file_name"]).stem in only}
        found.anns = {i: one for i, one in found.anns.items() if one["image_id"] in found.imgs}
    true = _truth(found, truth)
    rows = [{**one, "score": 1.0} for one in found.anns.values()]
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(true, true.loadRes(rows), "segm")
        run.params.useCats, run.params.iouThrs = 0, np.array([0.5])
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][0, :, 0, 0, -1]
    return {"ap50": float(precision.mean()), **_matched(found, true)}


def _read(export: Path) -> COCO:
    with zipfile.ZipFile(export) as archive:
        name = next(one for one in archive.namelist() if one.endswith(".json"))
        export.with_suffix(".json").write_bytes(archive.read(name))
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(export.with_suffix(".json")))


def _truth(found: COCO, truth: Truth) -> COCO:
    """The truth of the exported images, under the same ids."""
    rows = []
    for image in found.imgs.values():
        for mask in truth.masks(Path(image["file_name"]).stem):
            rle = coco.encode(np.asfortranarray(mask, np.uint8))
            size = {"area": int(coco.area(rle)), "bbox": coco.toBbox(rle).tolist(), "iscrowd": 0}
            packed = {**rle, "counts": rle["counts"].decode()}
            rows.append(
                {"id": len(rows) + 1, "image_id": image["id"], "category_id": 1, "segmentation": packed, **size}
            )
    made = COCO()
    images = list(found.imgs.values())
    made.dataset = json.loads(json.dumps({"images": images, "annotations": rows, "categories": [{"id": 1}]}))
    with contextlib.redirect_stdout(io.StringIO()):
        made.createIndex()
    return made


def _matched(found: COCO, true: COCO) -> dict[str, float]:
    """Best overlaps first, one to one."""
    overlaps: list[float] = []
    answers = objects = 0
    for image in true.imgs:
        one = [found.annToRLE(row) for row in found.imgToAnns[image]]
        other = [true.annToRLE(row) for row in true.imgToAnns[image]]
        answers, objects = answers + len(one), objects + len(other)
        if not one or not other:
            continue
        table = coco.iou(one, other, [0] * len(other))
        while table.size and table.max() >= 0.5:
            row, column = np.unravel_index(table.argmax(), table.shape)
            overlaps.append(float(table[row, column]))
            table[row], table[:, column] = -1, -1
    return {
        "objects": objects,
        "exported": answers,
        "f1": 2 * len(overlaps) / max(answers + objects, 1),
        "iou_matched": float(np.mean(overlaps)) if overlaps else 0.0,
        "iou_all": sum(overlaps) / max(objects, 1),
    }
