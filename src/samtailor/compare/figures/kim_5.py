"""`kim-5`: refinement at test time: the mask of the adapter, and its outline moved by the point matching module
(Kim et al., arXiv 2403.09199, Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samtailor.adapters.pmm import PMM, refine
from samtailor.compare.figures._sheets import LEGEND, draw_note, targets_of
from samtailor.compare.run_folder import RunFolder
from samtailor.errors import InputError
from samtailor.masks.metrics import iou
from samtailor.masks.overlay import around, close_up, fit
from samtailor.report.grid import contact_sheet
from samtailor.report.predictions import changes
from samtailor.segmenter import Segmenter


def build(runs: Sequence[RunFolder], *, objects: int, seed: int) -> np.ndarray:
    """The sheet, uint8 RGB; needs a row of plm-pmm."""
    run = runs[0]
    title = run.of_method("plm-pmm")[0]
    predictions, rows = run.predictions([title]), []
    for target in targets_of(run, objects, seed):
        one = predictions(title, target)
        _, segmenter = predictions.adapter(title, target.annotation.label)
        pmm = segmenter.adapter("pmm") if isinstance(segmenter, Segmenter) else None
        if one.output is None or not isinstance(pmm, PMM):
            raise InputError(f"{title} has no point matching module in {run.folder}.")
        refined = refine(one.mask, one.output.keys[0, 0], predictions.predictor.frame, pmm)
        image, truth, label = target.sample.image, target.annotation.mask, target.annotation.label
        view, after = around(target.annotation.box, *image.shape[:2]), 100 * float(iou(refined, truth))
        rows.append(
            [
                (close_up(image, view, outlines=[truth], points=one.points), f"{target.sample.id}: {label}"),
                (close_up(image, view, [one.mask], outlines=[truth]), f"IoU {100 * one.iou:.1f}"),
                (fit(changes(image, one.mask, refined)[view], 400), f"IoU {after - 100 * one.iou:+.1f}"),
                (close_up(image, view, [refined], outlines=[truth]), f"IoU {after:.1f}"),
            ]
        )
    note = f"{run.name}: objects {draw_note(seed)}. {LEGEND} Change: orange added, violet removed."
    return contact_sheet(["truth and prompt", "mask", "change", "refined mask"], rows, note)


__all__ = ["build"]
