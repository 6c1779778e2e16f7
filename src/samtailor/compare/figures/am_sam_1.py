"""`am-sam-1`: masks after 1, 5, 20 and 100 epochs (Li et al., arXiv 2410.09714, Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samtailor.compare.figures._sheets import LEGEND, draw_note, targets_of
from samtailor.compare.predicted import TRUE, Predictions, Row
from samtailor.compare.run_folder import RunFolder
from samtailor.errors import InputError
from samtailor.masks.overlay import around, close_up
from samtailor.report.grid import contact_sheet


def build(runs: Sequence[RunFolder], *, objects: int, seed: int) -> np.ndarray:
    """The sheet, uint8 RGB: one line for each object and row of the run that kept states (`snapshots`)."""
    run = runs[0]
    kept = {row: states for row in run.rows if (states := run.snapshots(row))}
    if not kept:
        raise InputError(
            f"The fits in {run.folder} kept no states of single epochs. Fit with --preset am-sam-2024, or with --set "
            "snapshots=[1,5,20,100]."
        )
    epochs = sorted({epoch for states in kept.values() for epoch in states})
    state_rows = [
        Row(f"{row.title} {epoch:g}", row.method, folders) for row, by in kept.items() for epoch, folders in by.items()
    ]
    opened = run.content["opened"].get("prompt")
    regions = run.content["regions"]
    predictions = Predictions(run.base, state_rows, run.classes, regions=regions, prompt=opened, store=run.store)
    rows = []
    for target in targets_of(run, objects, seed):
        image, truth = target.sample.image, target.annotation
        view = around(truth.box, *image.shape[:2])
        for row in kept:
            made = {epoch: predictions(f"{row.title} {epoch:g}", target) for epoch in kept[row]}
            boxes = [box for one in made.values() for box in one.boxes][:1]
            shown = close_up(image, view, [truth.mask], colors=[TRUE], boxes=boxes)
            panels = [(shown, f"{row.title}, {target.sample.id}")]
            for epoch in epochs:
                if epoch not in made:
                    panels.append((np.full_like(shown, 255), "-"))
                    continue
                drawing = close_up(image, view, [made[epoch].mask], outlines=[truth.mask])
                panels.append((drawing, f"IoU {100 * made[epoch].iou:.0f}"))
            rows.append(panels)
    head = ["truth and box", *(f"epoch {epoch:g}" for epoch in epochs)]
    return contact_sheet(head, rows, f"{run.name}: objects {draw_note(seed)}. {LEGEND}")


__all__ = ["build"]
