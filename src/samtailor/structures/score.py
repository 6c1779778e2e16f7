"""Scores of one evaluated mask."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """One row of an evaluation: one mask under one prompt.

    Args:
        id: sample id.
        label: class name.
        index: position of the mask among its image's targets.
        iou: IoU of the mask chosen by predicted IoU, in [0, 1], at the image's own size.
        oracle_iou: best IoU over the same candidates.
        dice, oracle_dice: the same for the Dice score.
        boundary_iou: boundary IoU of the chosen mask.
        predicted_iou: predicted IoU of the chosen mask.
        area: area of the true mask in pixels.
        group: group of the sample (bootstrap unit), or its id.
        paper_dice: Dice of the chosen mask on the papers' 64 x 64 grid; None in rows of earlier versions.
        predicted_area: area of the chosen mask in pixels, 0 for an empty one; None in rows of earlier versions.
    """

    id: str
    label: str
    index: int
    iou: float
    oracle_iou: float
    dice: float
    oracle_dice: float
    boundary_iou: float
    predicted_iou: float
    area: int
    group: str = ""
    paper_dice: float | None = None
    predicted_area: int | None = None


__all__ = ["Score"]
