"""A step with two tasks: single objects from prompts, and the region of the class without a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from samtailor.adapters.linear_map import LinearMap
from samtailor.adapters.pyramid import channels_last
from samtailor.errors import InputError
from samtailor.segmenter import Segmenter
from samtailor.structures import Batch, Features, Output
from samtailor.train.closed_form import fitted_linear_map
from samtailor.train.joint import Joint
from samtailor.train.losses import region_loss
from samtailor.train.step import StepFeeds, TrainingData


class MultiTask(Joint):
    """L = L_seg of a batch of prompted objects + the region loss of another batch, mean over the members of the map.

    Arguments as in `Joint`. The second batch holds regions (`data.regions.foreground`) of the training images with
    empty prompts; without one, only L_seg is computed.
    """

    _regions: Batch | None = None

    def feeds(self, data: TrainingData) -> StepFeeds:
        """A batch of prompted masks and a batch of regions."""
        fit_linear_map(self.bare, data)
        return StepFeeds(data.masks(data.prompted), data.regions(data.train), regions=True)

    def __call__(self, train: Batch, second: Batch | None = None) -> dict[str, float]:
        """One step on both batches."""
        self._regions = second
        return super().__call__(train)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of `Joint`, "region", and their sum as "loss"."""
        figures = super().losses(batch)
        if self._regions is None:
            return figures
        with self.accelerator.autocast():
            region = map_loss(self.bare, self._regions)
        return figures | {"region": region.detach(), "loss": figures["loss"] + region}


class RegionTask(Joint):
    """The region loss alone, on regions of the training images, mean over the members of the map."""

    def feeds(self, data: TrainingData) -> StepFeeds:
        """A batch of regions."""
        fit_linear_map(self.bare, data)
        return StepFeeds(data.regions(data.train))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """ "loss", the region loss."""
        with self.accelerator.autocast():
            return {"loss": map_loss(self.bare, batch)}


@runtime_checkable
class MemberMap(Protocol):
    """A map adapter that is the mean of several networks, such as `adapters.region_map.RegionMap`."""

    members: nn.ModuleList
    linear: LinearMap | None
    folds: dict[str, int]
    """Sample id to the member that does not learn from it."""

    def learners(self, ids: Sequence[str]) -> list[list[int]]:
        """For each member the rows of the samples that it learns from."""
        ...

    def logits(self, features: Features) -> Tensor:
        """Mean logits of the members, (B, 1, h, w)."""
        ...

    def as_output(self, logits: Tensor, features: Features, prompts: int = 1) -> Output:
        """Logits of any grid as the output for each of P = `prompts` empty prompts."""
        ...


def member_map(segmenter: Segmenter) -> MemberMap:
    """The map adapter of a segmenter.

    Raises:
        InputError: it has none, or one without members.
    """
    for adapter in segmenter.maps.values():
        if isinstance(adapter, MemberMap):
            return adapter
    raise InputError("This needs a method with a region map of several members, such as tailor.")


def fit_linear_map(segmenter: Segmenter, data: TrainingData) -> None:
    """Fit the linear map of a segmenter to all training images, in closed form; nothing happens where it has none."""
    linear = next((one.linear for one in segmenter.maps.values() if isinstance(one, MemberMap)), None)
    if linear is not None:
        linear.assign(*fitted_linear_map(segmenter.base, data, segmenter.companions))


def map_loss(segmenter: Segmenter, batch: Batch) -> Tensor:
    """Region loss (`losses.region_loss` with the Dice of each mask) of every member of the map, averaged.

    A loss of the averaged logits would let a single member do the work. A member does not learn from the images of
    its fold (`RegionMap.folds`).
    """
    region_map, features, losses = member_map(segmenter), batch.features, []
    if features is None:
        raise InputError("A region map needs the embeddings of the images, and this batch has none.")
    targets, features = replace(batch, features=None), channels_last(features)  # once for all members
    for member, rows in zip(region_map.members, region_map.learners(batch.ids), strict=True):
        if rows or not batch.ids:
            every = len(rows) == len(batch.ids)
            part, own = (targets, features) if every else (targets[rows], features[_index(rows)])
            output = region_map.as_output(member(own), own)
            losses.append(region_loss(output, part, per_mask=True, iou_weight=0.0)["loss"])
    return torch.stack(losses).sum() / len(region_map.members)


def _index(rows: list[int]) -> slice | list[int]:
    """Rows as a slice where they are consecutive: it copies no features."""
    first, end = rows[0], rows[-1] + 1
    return slice(first, end) if end - first == len(rows) else rows


__all__ = ["MemberMap", "MultiTask", "RegionTask", "map_loss", "member_map"]
