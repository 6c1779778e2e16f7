"""`kim-2a`: the three masks of SAM for one click, with their predicted IoU (Kim et al., arXiv 2403.09199, Fig. 2a)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samtailor.compare.figures._sheets import LEGEND, draw_note, targets_of
from samtailor.compare.predicted import Predictions, Target
from samtailor.compare.run_folder import RunFolder
from samtailor.evaluation.protocol import PROTOCOL, prompts_for
from samtailor.masks.metrics import iou
from samtailor.masks.overlay import around, close_up
from samtailor.predict.predictor import BASE
from samtailor.report.grid import contact_sheet


def build(runs: Sequence[RunFolder], *, objects: int, seed: int) -> np.ndarray:
    """The sheet, uint8 RGB: a click at the center of each object, and each mask that the base model offers."""
    run = runs[0]
    predictions = run.predictions([])
    rows = [_row(predictions, target) for target in targets_of(run, objects, seed)]
    head = ["click", *(f"mask {place}" for place in range(1, len(rows[0])))]
    return contact_sheet(head, rows, f"{run.base.name}, objects {draw_note(seed)}. {LEGEND}")


def _row(predictions: Predictions, target: Target) -> list[tuple[np.ndarray, str]]:
    predictions.set(target)
    predictor, sample, truth = predictions.predictor, target.sample, target.annotation.mask
    prompts = prompts_for(sample, sample.of(predictions.classes), target.index, PROTOCOL, 0)
    output = predictor.decode(prompts, BASE)
    masks = (predictor.frame.logits(output.candidate_logits()[0])[0] > 0).cpu().numpy()
    scores = output.candidate_iou()[0, 0].tolist()
    image, (x, y) = sample.image, prompts.points[0, 0, 0].tolist() if prompts.points is not None else (0, 0)
    view = around(target.annotation.box, *image.shape[:2])
    panels = [(close_up(image, view, points=[(x, y, 1)]), f"{sample.id}: {target.annotation.label}")]
    for mask, score in zip(masks, scores, strict=True):
        drawing = close_up(image, view, [mask], outlines=[truth])
        panels.append((drawing, f"predicted IoU {100 * score:.0f}, IoU {100 * iou(mask, truth):.0f}"))
    return panels


__all__ = ["build"]
