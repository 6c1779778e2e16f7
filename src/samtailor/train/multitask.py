"""One step of two lessons: single objects from prompts, and the region of the class without a prompt."""

from __future__ import annotations

import torch

from samtailor.segmenter import Segmenter
from samtailor.structures import Batch
from samtailor.train.joint import Joint
from samtailor.train.losses import region_loss


class MultiTask(Joint):
    """L = L_seg of a batch of prompted objects + the region loss of another batch, mean over the members of the map.

    Arguments as in `Joint`. The second batch holds the same images' regions (`data.regions.foreground`) with empty
    prompts; without one (a method's own test) only the first lesson is given.
    """

    second = "regions"

    _regions: Batch | None = None

    def __call__(self, train: Batch, held_out: Batch | None = None) -> dict[str, float]:
        """One step on both batches."""
        self._regions = held_out
        return super().__call__(train)

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Both lessons: the terms of `Joint`, "region", and their sum as "loss"."""
        figures = super().losses(batch)
        if self._regions is None:
            return figures
        with self.accelerator.autocast():
            region = map_loss(self.bare, self._regions)
        return figures | {"region": region.detach(), "loss": figures["loss"] + region}


def map_loss(segmenter: Segmenter, batch: Batch) -> torch.Tensor:
    """Region loss (see `losses.region_loss`; Dice of each mask alone) of every member of the map, their mean.

    Each member learns by itself, a loss of their mean would let one of them do the work, and only from the images
    that are not left out for it (`RegionMap.folds`).
    """
    (found,) = segmenter.maps.values()
    losses = []
    for member, rows in zip(found.members, found.learners(batch.ids), strict=True):
        if rows or not batch.ids:
            part = batch[rows] if len(rows) < len(batch.ids) else batch
            answer = found.as_output(member(part.features), part.features)
            losses.append(region_loss(answer, part, per_mask=True, iou_weight=0.0)["loss"])
    return torch.stack(losses).sum() / len(found.members)


__all__ = ["MultiTask", "map_loss"]
