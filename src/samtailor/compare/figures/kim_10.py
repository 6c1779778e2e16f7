"""`kim-10`: failure cases: objects that overlap or touch a neighbor of their class and have the lowest IoU (Kim et al.,
arXiv 2403.09199, Fig. 10). They are found by a search over the held-out objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from samtailor.compare.figures._sheets import methods_sheet
from samtailor.compare.predicted import Target
from samtailor.compare.run_folder import RunFolder
from samtailor.errors import InputError, counted
from samtailor.structures import Annotation

GAP = 0.02
"""Objects touch if their distance is at most this share of the longer side of the image."""
MOST = 400
"""Largest number of such objects that are predicted."""


def build(runs: Sequence[RunFolder], *, objects: int, seed: int) -> np.ndarray:
    """The sheet, uint8 RGB: the objects of lowest IoU with the last row of the run."""
    run = runs[0]
    if run.content["regions"]:
        raise InputError(f"The run in {run.folder} joins the objects of an image; this figure needs single objects.")
    predictions = run.predictions()
    targets = (
        replace(target, neighbors=_neighbors(target, run.classes)) for target in predictions.targets(run.samples)
    )
    crowded = [target for target in targets if target.neighbors]
    if not crowded:
        raise InputError(f"No held-out object of the run in {run.folder} overlaps or touches another one of its class.")
    last = run.titles[-1]
    ranked = sorted(crowded[:MOST], key=lambda target: predictions(last, target).iou)
    shown = [replace(target, why=f"rank {place}") for place, target in enumerate(ranked[:objects], 1)]
    how = f"the lowest IoU with {last} of {counted(len(ranked), 'object')} that overlap or touch a neighbor (orange)"
    return methods_sheet(run, run.titles, shown, how)


def _neighbors(target: Target, classes: Sequence[str]) -> tuple[Annotation, ...]:
    """Objects of the class that overlap or touch an object."""
    others = [
        other
        for place, other in enumerate(target.sample.of(classes))
        if place != target.index and other.label == target.annotation.label
    ]
    reach = max(1, round(GAP * max(target.annotation.rle["size"])))
    near = [other for other in others if _boxes_meet(target.annotation, other, reach)]
    if not near:
        return ()
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    grown = cv2.dilate(target.annotation.mask.astype(np.uint8), kernel) > 0
    return tuple(other for other in near if (grown & other.mask).any())


def _boxes_meet(one: Annotation, other: Annotation, reach: int) -> bool:
    ax0, ay0, ax1, ay1 = one.box
    bx0, by0, bx1, by1 = other.box
    return ax0 - reach < bx1 and bx0 < ax1 + reach and ay0 - reach < by1 and by0 < ay1 + reach


__all__ = ["build"]
