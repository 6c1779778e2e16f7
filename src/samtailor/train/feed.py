"""Batches of masks for training, on cached embeddings, in the model frame.

A batch is a function of (seed, step) alone: the stream of masks is one shuffled epoch after another, in which every
mask of the wanted classes comes once, however many of them share an image. View and click of an item are drawn from
a generator of its own, so that neither resuming nor the number of processes changes them. Masks of one image are
not put into one batch on purpose: it would save reading the embedding a few times, at the price of gradients that
are no longer a fair sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from samtailor.bases import Base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.augment import Augment, View
from samtailor.data.transform import Frame, coverage
from samtailor.errors import DataError, InputError
from samtailor.masks import interior
from samtailor.masks.contours import resample
from samtailor.structures import Batch, Prompts, Sample
from samtailor.train.targets import Targets

if TYPE_CHECKING:
    from samtailor.prompts import Source


@dataclass(frozen=True)
class HeldOut:
    """Masks to validate on.

    Args:
        batch: embeddings, prompts and low-resolution targets of B masks.
        masks: B boolean masks (size, size), model frame.
        inner: (height, width) of each image inside the model frame; the rest is padding.
    """

    batch: Batch
    masks: list[np.ndarray]
    inner: list[tuple[int, int]]


class Feed:
    """Deterministic stream of batches with P = 1.

    Args:
        base: the frozen base; gives the model frame, and encodes what the store does not have.
        samples: images to train on.
        classes: classes whose masks are targets; None for all.
        store: embeddings on disk.
        source: prompt source, asked with masks of the model frame.
        augment: views to draw from; the default is no augmentation.
        batch_size: masks a batch (in one process).
        seed: order, views and clicks.
        contours: number Q of outline points, for methods that match points; None leaves them out.
        images: give the images themselves (`Batch.images`) instead of their embeddings, for methods that adapt the
            image encoder.
        shard: (rank, processes); process r takes every processes-th batch of the common stream.

    Raises:
        DataError: no mask of the wanted classes.
    """

    def __init__(
        self,
        base: Base,
        samples: Sequence[Sample],
        classes: Sequence[str] | None,
        store: EmbeddingCache,
        *,
        source: Source,
        augment: Augment | None = None,
        batch_size: int = 8,
        seed: int = 0,
        contours: int | None = None,
        images: bool = False,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}.")
        self.base, self.store, self.seed, self.batch_size = base, store, seed, batch_size
        self._samples, self._classes, self._source = samples, classes, source
        self._images = images
        self._augment, self._contours, self._shard = augment or Augment(), contours, shard
        self._targets = Targets(base, samples, classes, self._augment)
        found = [
            (i, k)
            for i, sample in enumerate(samples)
            for k, annotation in enumerate(sample.annotations)
            if annotation.is_target(classes)
        ]
        if not found:
            wanted = "any class" if classes is None else ", ".join(classes)
            raise DataError(f"There is nothing to train on: {len(samples)} images, none has a mask of {wanted}.")
        self._items = np.array(found, np.int32)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        """Masks of an epoch."""
        return len(self._items)

    @property
    def masks_per_step(self) -> int:
        """Masks that all processes together take in one call of `batch`."""
        return self.batch_size * self._shard[1]

    def epoch(self, step: int) -> float:
        """Epochs done before a step, with fraction."""
        return step * self.masks_per_step / len(self)

    def images(self) -> Iterator[tuple[Sample, View]]:
        """Every (sample, view) that a batch may ask for; what to have encoded ahead."""
        for i in dict.fromkeys(self._items[:, 0].tolist()):
            for index in range(self._augment.views):
                yield self._samples[i], self._targets.view(i, index)

    def drawn(self, steps: int) -> Iterator[tuple[Sample, View]]:
        """Every (sample, view) that the batches of the first steps ask for, of all processes, each once.

        A short fit on many images and views draws few of them; encoding the others ahead would be its longest part.
        """
        if self._augment.views == 1 and steps * self.masks_per_step >= len(self):
            yield from self.images()
            return
        wanted = (self._place(position)[:2] for position in range(steps * self.masks_per_step))
        for i, index in dict.fromkeys((int(self._items[row][0]), self._index(row, index)) for row, index in wanted):
            yield self._samples[i], self._targets.view(i, index)

    def batch(self, step: int) -> Batch:
        """Batch of a step (counted from 0), on the CPU."""
        rank, processes = self._shard
        first = (step * processes + rank) * self.batch_size
        return self._joined([self._item(position) for position in range(first, first + self.batch_size)])

    def held_out(self, at_most: int) -> Iterator[HeldOut]:
        """The same masks every time, at most so many, of every class alike, untouched views, in batches.

        Meant for validation during a fit: cheap, bounded, and read from the store each time. A source that draws its
        clicks draws the same ones every time.
        """
        rng = np.random.default_rng([self.seed, 2])
        by_class: dict[str, list[int]] = {}
        for row in rng.permutation(len(self)).tolist():
            i, k = self._items[row]
            by_class.setdefault(self._samples[i].annotations[k].label, []).append(row)
        longest = max(len(rows) for rows in by_class.values())
        turns = (row for turn in range(longest) for rows in by_class.values() for row in rows[turn : turn + 1])
        chosen = sorted(islice(turns, at_most))
        for start in range(0, len(chosen), self.batch_size):
            rows = chosen[start : start + self.batch_size]
            items = [self._drawn(row, 0, np.random.default_rng([self.seed, 3, row])) for row in rows]
            yield HeldOut(self._joined(items), [item.mask for item in items], [item.frame.inner for item in items])

    # -- one item

    def _item(self, position: int) -> _Item:
        return self._drawn(*self._place(position))

    def _place(self, position: int) -> tuple[int, int, np.random.Generator]:
        """Row and view of a place in the stream, and the generator that has drawn the view."""
        epoch, place = divmod(position, len(self))
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, 0, epoch]).permutation(len(self))
        rng = np.random.default_rng([self.seed, 1, position])
        index = int(rng.integers(self._augment.views))
        return int(self._order[1][place]), index, rng

    def _index(self, row: int, index: int) -> int:
        """The view that a mask is taken from in the end (see `Targets.of`)."""
        i, k = (int(v) for v in self._items[row])
        return self._targets.of(i, k, index)[2]

    def _drawn(self, row: int, index: int, rng: np.random.Generator) -> _Item:
        i, k = (int(v) for v in self._items[row])
        annotation, frame, index = self._targets.of(i, k, index)
        view, mask = self._targets.view(i, index), annotation.mask
        of_image = getattr(self._source, "of_image", False)  # not the mask: a file, a detector
        prompts = self._source(self._samples[i], [self._samples[i].annotations[k].mask if of_image else mask], rng)
        if of_image or prompts.frame != mask.shape:
            seen = view.prompts(prompts)
            if seen is None:  # the crop keeps the mask and cuts off what was asked with
                return self._drawn(row, 0, rng)
            prompts = frame.prompts(seen)
        return _Item(self._samples[i], view, annotation.label, mask, frame, prompts)

    # -- a batch

    def _joined(self, items: Sequence[_Item]) -> Batch:
        samples, views = [item.sample for item in items], [item.view for item in items]
        features = None if self._images else self.store.features(self.base, samples, views)
        targets = torch.stack([coverage(item.mask, self.base.low_res) for item in items])[:, None]
        contours = radii = None
        if self._contours is not None:
            points = [resample(item.mask, self._contours) for item in items]
            contours = torch.from_numpy(np.stack(points))[:, None]
            radii = torch.tensor([[interior.radius(item.mask)] for item in items], dtype=torch.float32)
        return Batch(
            features=features,
            images=torch.stack([_image(self.base, *pair) for pair in zip(samples, views, strict=True)])
            if self._images
            else None,
            prompts=Prompts.cat([item.prompts for item in items]),
            targets=targets,
            valid=torch.stack([item.frame.valid() for item in items])[:, None],
            contours=contours,
            radius=radii,
            labels=tuple(item.label for item in items),
            ids=tuple(item.sample.id for item in items),
        )


@dataclass(frozen=True)
class _Item:
    sample: Sample
    view: View
    label: str
    mask: np.ndarray
    frame: Frame
    prompts: Prompts


def _image(base: Base, sample: Sample, view: View) -> torch.Tensor:
    """The view of an image as the encoder takes it, (3, size, size)."""
    image = view.image(sample.image)
    return Frame.of(base, *image.shape[:2]).image(image, base)


__all__ = ["Feed", "HeldOut"]
