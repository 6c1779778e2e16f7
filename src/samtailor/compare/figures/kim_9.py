"""`kim-9`: IoU for a click at each position, for SAM and every fitted row (Kim et al., arXiv 2403.09199, Fig. 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from samtailor.compare.figures._sheets import targets_of
from samtailor.compare.run_folder import RunFolder
from samtailor.evaluation import iou_map as maps
from samtailor.masks.overlay import around

CLICKED = ("sam", "sam-f", "plm", "plm-pmm", "tailor")


def build(runs: Sequence[RunFolder], *, objects: int, seed: int) -> Any:
    """The figure, for one object: the seed chooses it. Rows that are not prompted by a click are left out."""
    run = runs[0]
    titles = [title for title, method in run.content["entries"].items() if method in CLICKED]
    predictions, target = run.predictions(titles), targets_of(run, 1, seed)[0]
    predictions.set(target)
    truth, label = target.annotation.mask, target.annotation.label
    made, view = {}, around(target.annotation.box, *truth.shape)
    for title in titles or run.of_method("sam"):
        name, _ = predictions.adapter(title, label)
        made[title] = maps.iou_map(predictions.predictor, truth, adapter=name, cells=24, view=view)
    return maps.draw(target.sample.image, truth, made, title=f"{target.sample.id}: {label}", view=view)


__all__ = ["build"]
