"""Batches of masks for training, with cached embeddings, in the model frame.

A batch depends on (seed, step) alone. The stream of masks (`train.order`) is one shuffled epoch after another, and each
epoch contains every mask of the classes once, however many of them share an image. If the embeddings do not fit in the
cache, it goes through one part of the images after the other (`Feed.keep_resident`). View and click of an item are
drawn from a separate generator, so that neither resuming nor the number of processes changes them. Masks of one image
are not grouped in a batch: that would save some reads of embeddings, but the gradients would be a biased sample.

Several threads may prepare batches at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from samtailor.bases import Base
from samtailor.bases.companions import Companion
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.cache.masks import MaskCache
from samtailor.data.augment import Augment, View
from samtailor.data.transform import Frame, coverage
from samtailor.errors import InputError, nothing_to_train_on
from samtailor.masks import interior
from samtailor.masks.contours import resample
from samtailor.structures import Batch, Prompts, Sample
from samtailor.train.order import Blocked, Order, Shuffled
from samtailor.train.targets import MAX_MASKS, Targets

if TYPE_CHECKING:
    from samtailor.prompts import Source

_MASK_SHARE = 10  # masks on disk may take this part of the limit of the embeddings, in addition to it
_MASK_BYTES = 4096  # of a packed mask on disk, about


@dataclass(frozen=True)
class HeldOut:
    """Masks to validate on.

    Args:
        batch: embeddings, prompts and low-resolution targets of B masks.
        masks: B boolean masks (size, size), model frame.
        inner: (height, width) of each image inside the model frame; the remainder is padding.
    """

    batch: Batch
    masks: list[np.ndarray]
    inner: list[tuple[int, int]]


class Feed:
    """Deterministic stream of batches with P = 1.

    Args:
        base: frozen base; defines the model frame and encodes images that are not cached.
        samples: images to train on.
        classes: classes of the target masks; None for all.
        store: cached embeddings.
        source: prompt source; it gets masks in the model frame.
        augment: views to draw from; default: no augmentation.
        batch_size: masks per batch and process.
        seed: seed of order, views and clicks.
        contours: number Q of outline points, for methods that match points; None: no contours.
        companions: whose maps are added to the embeddings.
        images: add images (`Batch.images`) instead of embeddings, for methods that adapt the image encoder.
        shard: (rank, processes); process r takes every processes-th batch of the common stream.

    Raises:
        DataError: no mask of the classes.
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
        companions: Sequence[Companion] = (),
        images: bool = False,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}.")
        self.base, self.store, self.seed, self.batch_size = base, store, seed, batch_size
        self._samples, self._classes, self._source = samples, classes, source
        self._images, self._companions = images, companions
        self._augment, self._contours, self._shard = augment or Augment(), contours, shard
        items = [
            (i, k)
            for i, sample in enumerate(samples)
            for k, annotation in enumerate(sample.annotations)
            if annotation.is_target(classes)
        ]
        if not items:
            raise nothing_to_train_on(len(samples), classes)
        self._items = np.array(items, np.int32)
        disk = _disk_for(len(items) * self._augment.views, store)
        self._targets = Targets(base, samples, classes, self._augment, disk)
        self.order: Order = Shuffled(len(items), seed)
        # sources that read the image (a detector, proposals) may not be used by two threads at once
        shared = getattr(source, "of_image", False)
        self._sourcing: AbstractContextManager[object] = threading.Lock() if shared else nullcontext()

    def __len__(self) -> int:
        """Masks per epoch."""
        return len(self._items)

    @property
    def masks_per_step(self) -> int:
        """Masks per call of `batch`, summed over all processes."""
        return self.batch_size * self._shard[1]

    def epoch(self, step: int) -> float:
        """Number of epochs before a step, with fraction."""
        return step * self.masks_per_step / len(self)

    @property
    def embeddings_per_image(self) -> int:
        """Largest number of embeddings of one image that a pass may need: one per view."""
        return self._augment.views

    @property
    def image_count(self) -> int:
        """Number of images with a mask."""
        return len(np.unique(self._items[:, 0]))

    def keep_resident(self, images: int, passes: int) -> None:
        """Train on at most `images` images at a time, for `passes` passes each (`order.Blocked`)."""
        self.order = Blocked(self._items[:, 0], self.seed, images, passes)

    def images(self) -> Iterator[tuple[Sample, View]]:
        """Every (sample, view) that a batch may need."""
        for i in dict.fromkeys(self._items[:, 0].tolist()):
            for index in range(self._augment.views):
                yield self._samples[i], self._targets.view(i, index)

    def drawn(self, steps: int) -> Iterator[tuple[Sample, View]]:
        """Every (sample, view) that the batches of the first steps need in all processes, each once.

        A short fit on many images and views draws few of them; encoding the others would take longer than the fit.
        """
        if self._augment.views == 1 and self.order.complete(steps * self.masks_per_step):
            yield from self.images()
            return
        wanted = (self._place(position)[:2] for position in range(steps * self.masks_per_step))
        for i, index in dict.fromkeys((int(self._items[row][0]), self._index(row, index)) for row, index in wanted):
            yield self._samples[i], self._targets.view(i, index)

    def batch(self, step: int) -> Batch:
        """Batch of a step, counted from 0, on the CPU."""
        rank, processes = self._shard
        first = (step * processes + rank) * self.batch_size
        return self._joined([self._item(position) for position in range(first, first + self.batch_size)])

    def held_out(self, at_most: int) -> Iterator[HeldOut]:
        """The same at most `at_most` masks on every call, balanced over classes, without augmentation, in batches.

        Prompts are the same on every call, also those of a source that draws clicks at random.
        """
        chosen = self._held_out_rows(at_most)
        for start in range(0, len(chosen), self.batch_size):
            rows = chosen[start : start + self.batch_size]
            items = [self._drawn(row, 0, np.random.default_rng([self.seed, 3, row])) for row in rows]
            yield HeldOut(self._joined(items), [item.mask for item in items], [item.frame.inner for item in items])

    def held_out_images(self, at_most: int) -> list[Sample]:
        """Images of `held_out`."""
        return [self._samples[i] for i in dict.fromkeys(self._items[self._held_out_rows(at_most), 0].tolist())]

    def _held_out_rows(self, at_most: int) -> list[int]:
        rng = np.random.default_rng([self.seed, 2])
        by_class: dict[str, list[int]] = {}
        for row in rng.permutation(len(self)).tolist():
            i, k = self._items[row]
            by_class.setdefault(self._samples[i].annotations[k].label, []).append(row)
        longest = max(len(rows) for rows in by_class.values())
        turns = (row for turn in range(longest) for rows in by_class.values() for row in rows[turn : turn + 1])
        return sorted(islice(turns, at_most))

    # -- one item

    def _item(self, position: int) -> _Item:
        return self._drawn(*self._place(position))

    def _place(self, position: int) -> tuple[int, int, np.random.Generator]:
        """Row and view at a position of the stream, and the generator that drew the view."""
        rng = np.random.default_rng([self.seed, 1, position])
        index = int(rng.integers(self._augment.views))
        return self.order.row(position), index, rng

    def _index(self, row: int, index: int) -> int:
        """The view that a mask is taken from, see `Targets.of`."""
        i, k = (int(v) for v in self._items[row])
        return self._targets.of(i, k, index).index

    def _drawn(self, row: int, index: int, rng: np.random.Generator) -> _Item:
        i, k = (int(v) for v in self._items[row])
        target = self._targets.of(i, k, index)
        view, mask, frame = self._targets.view(i, target.index), target.mask, target.frame
        of_image = getattr(self._source, "of_image", False)  # not the mask: a file, a detector
        given = self._samples[i].annotations[k].mask if of_image else mask
        with self._sourcing:
            prompts = self._source(self._samples[i], [given], rng)
        if of_image or prompts.frame != mask.shape:
            moved = view.prompts(prompts)
            if moved is None:  # the crop keeps the mask but cuts off the prompt
                return self._drawn(row, 0, rng)
            prompts = frame.prompts(moved)
        return _Item(self._samples[i], view, target.label, mask, frame, prompts)

    # -- a batch

    def _joined(self, items: Sequence[_Item]) -> Batch:
        samples, views = [item.sample for item in items], [item.view for item in items]
        features = None if self._images else self.store.features(self.base, samples, views, self._companions)
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


def _disk_for(masks: int, store: EmbeddingCache) -> MaskCache | None:
    """A cache on disk for more masks than memory keeps, if it has room for all of them."""
    limit = store.max_bytes // _MASK_SHARE
    if not MAX_MASKS < masks <= limit // _MASK_BYTES:
        return None
    return MaskCache(store.root / "masks", limit)


def _image(base: Base, sample: Sample, view: View) -> torch.Tensor:
    """The view of an image as input of the encoder, (3, size, size)."""
    image = view.image(sample.image)
    return Frame.of(base, *image.shape[:2]).image(image, base)


__all__ = ["Feed", "HeldOut"]
