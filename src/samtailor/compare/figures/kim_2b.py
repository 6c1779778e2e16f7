"""`kim-2b`: IoU of each of the three masks for a click at each position (Kim et al., arXiv 2403.09199, Fig. 2b)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from samtailor.compare.figures._sheets import targets_of
from samtailor.compare.run_folder import RunFolder
from samtailor.evaluation import iou_map as maps
from samtailor.masks.overlay import around
from samtailor.predict.predictor import BASE


def build(runs: Sequence[RunFolder], *, objects: int, seed: int) -> Any:
    """The figure, for one object: the seed chooses it."""
    run, predictions = runs[0], runs[0].predictions([])
    target = targets_of(run, 1, seed)[0]
    predictions.set(target)
    truth = target.annotation.mask
    view = around(target.annotation.box, *truth.shape)
    one = maps.iou_map(predictions.predictor, truth, adapter=BASE, cells=24, view=view)
    shown = {"chosen mask": one, **one.by_candidate()}
    title = f"{target.sample.id}: {target.annotation.label}"
    return maps.draw(target.sample.image, truth, shown, title=title, view=view)


__all__ = ["build"]
