"""Batches of masks for training, on cached embeddings, in the model frame.

A batch is a function of (seed, step) alone: the stream of masks is one shuffled epoch after another, in which every
mask of the wanted classes comes once, however many of them share a picture. View and click of an item are drawn from
a generator of its own, so that neither resuming nor the number of processes changes them. Masks of one picture are
not put into one batch on purpose: it would save reading the embedding a few times, at the price of gradients that
are no longer a fair sample.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from samtailor import interior
from samtailor.bases import Base
from samtailor.contours import resample
from samtailor.data.augment import UNTOUCHED, Augment, View
from samtailor.data.transform import Frame, coverage
from samtailor.embeddings import EmbeddingStore
from samtailor.errors import DataError, InputError
from samtailor.types import Annotation, Batch, Prompts, Sample

if TYPE_CHECKING:
    from samtailor.prompts import Source

_MASKS = 4096  # run-length encoded masks of the model frame that are kept, about a kilobyte each
_VIEWS = 65536  # drawn views that are kept, about 300 bytes each
_KEPT = 0.5  # share of a mask that a crop must leave, or the item is taken from the untouched picture


_Target = tuple[Annotation, Frame, int]  # mask in the model frame, its geometry, the view it was taken from


@dataclass(frozen=True)
class HeldOut:
    """Masks to validate on.

    Args:
        batch: embeddings, prompts and low-resolution targets of B masks.
        masks: B boolean masks (size, size), model frame.
        inner: (height, width) of each picture inside the model frame; the rest is padding.
    """

    batch: Batch
    masks: list[np.ndarray]
    inner: list[tuple[int, int]]


class Feed:
    """Deterministic stream of batches with P = 1.

    Args:
        base: the frozen base; gives the model frame, and encodes what the store does not have.
        samples: pictures to train on.
        classes: classes whose masks are targets; None for all.
        store: embeddings on disk.
        source: prompt source, asked with masks of the model frame.
        augment: views to draw from; the default is no augmentation.
        batch_size: masks a batch (in one process).
        seed: order, views and clicks.
        contours: number Q of outline points, for methods that match points; None leaves them out.
        images: give the pictures themselves (`Batch.images`) instead of their embeddings, for methods that adapt the
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
        store: EmbeddingStore,
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
        found = [
            (i, k)
            for i, sample in enumerate(samples)
            for k, annotation in enumerate(sample.annotations)
            if _is_target(annotation, classes)
        ]
        if not found:
            wanted = "any class" if classes is None else ", ".join(classes)
            raise DataError(f"There is nothing to train on: {len(samples)} pictures, none has a mask of {wanted}.")
        self._items = np.array(found, np.int32)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))
        self._masks: OrderedDict[tuple[int, int, int], _Target] = OrderedDict()
        self._views: OrderedDict[tuple[int, int], View] = OrderedDict()

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

    def pictures(self) -> Iterator[tuple[Sample, View]]:
        """Every (sample, view) that a batch may ask for; what to have encoded ahead."""
        for i in dict.fromkeys(self._items[:, 0].tolist()):
            for index in range(self._augment.views):
                yield self._samples[i], self._view(i, index)

    def drawn(self, steps: int) -> Iterator[tuple[Sample, View]]:
        """Every (sample, view) that the batches of the first steps ask for, of all processes, each once.

        A short fit on many pictures and views draws few of them; encoding the others ahead would be its longest part.
        """
        if self._augment.views == 1 and steps * self.masks_per_step >= len(self):
            yield from self.pictures()
            return
        wanted = (self._place(position)[:2] for position in range(steps * self.masks_per_step))
        for i, index in dict.fromkeys((int(self._items[row][0]), self._index(row, index)) for row, index in wanted):
            yield self._samples[i], self._view(i, index)

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
        """The view that a mask is taken from in the end (see `_target`)."""
        i, k = (int(v) for v in self._items[row])
        return self._target(i, k, index)[2]

    def _drawn(self, row: int, index: int, rng: np.random.Generator) -> _Item:
        i, k = (int(v) for v in self._items[row])
        annotation, frame, index = self._target(i, k, index)
        view, mask = self._view(i, index), annotation.mask
        of_picture = getattr(self._source, "of_picture", False)  # not the mask: a file, a detector
        prompts = self._source(self._samples[i], [self._samples[i].annotations[k].mask if of_picture else mask], rng)
        if of_picture or prompts.frame != mask.shape:
            seen = view.prompts(prompts)
            if seen is None:  # the crop keeps the mask and cuts off what was asked with
                return self._drawn(row, 0, rng)
            prompts = frame.prompts(seen)
        return _Item(self._samples[i], view, annotation.label, mask, frame, prompts)

    def _target(self, i: int, k: int, index: int) -> _Target:
        """Mask in the model frame; of the untouched picture where the view lost it or gave it another class."""
        key = (i, k, index)
        if key not in self._masks:
            annotation = self._samples[i].annotations[k]
            seen = self._view(i, index).annotation(annotation)
            if index and (seen.area < _KEPT * annotation.area or not _is_target(seen, self._classes)):
                target = self._target(i, k, 0)
            else:
                frame = Frame.of(self.base, *seen.rle["size"])
                target = Annotation.from_mask(seen.label, _in_model(frame, seen.mask)), frame, index
            _remember(self._masks, key, target, _MASKS)
        self._masks.move_to_end(key)
        return self._masks[key]

    def _view(self, i: int, index: int) -> View:
        if index == 0:
            return UNTOUCHED
        if (i, index) not in self._views:
            _remember(self._views, (i, index), self._augment.draw(self._samples[i], index), _VIEWS)
        return self._views[i, index]

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
            images=torch.stack([_picture(self.base, *pair) for pair in zip(samples, views, strict=True)])
            if self._images
            else None,
            prompts=join_prompts([item.prompts for item in items]),
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


def ahead(batch: Callable[[int], Batch], steps: Sequence[int]) -> Iterator[Batch]:
    """`batch` of each step in order, the next one made in a thread while the last one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="feed") as thread:
        pending = [thread.submit(batch, step) for step in steps[:1]]
        for step in [*steps[1:], None]:
            ready = pending.pop() if pending else None
            if step is not None:
                pending.append(thread.submit(batch, step))
            if ready is not None:
                yield ready.result()


def join_prompts(parts: Sequence[Prompts]) -> Prompts:
    """Prompts of several pictures in one frame, joined along B; points are padded with SAM's ignored label to one K.

    Raises:
        InputError: some have points, boxes or masks and others do not, or the frames differ.
    """
    kinds = {(p.frame, p.points is None, p.boxes is None, p.masks is None) for p in parts}
    if len(kinds) != 1:
        raise InputError("Prompts can be joined only in one frame and when all have the same of points, boxes, masks.")
    joined: dict[str, Any] = {}
    for name in ("boxes", "masks"):
        if getattr(parts[0], name) is not None:
            joined[name] = torch.cat([getattr(p, name) for p in parts])
    if parts[0].empty:
        joined["count"] = (sum(p.count[0] for p in parts), parts[0].count[1])
    if parts[0].points is not None:
        most = max(p.points.shape[2] for p in parts)
        pad = torch.nn.functional.pad
        joined["points"] = torch.cat([pad(p.points, (0, 0, 0, most - p.points.shape[2])) for p in parts])
        joined["labels"] = torch.cat([pad(p.labels, (0, most - p.labels.shape[2]), value=-10) for p in parts])
    return Prompts(frame=parts[0].frame, **joined)


def _is_target(annotation: Annotation, classes: Sequence[str] | None) -> bool:
    """As `Sample.of` has it."""
    return not annotation.crowd and (classes is None or annotation.label in classes) and annotation.area > 0


def _in_model(frame: Frame, mask: np.ndarray) -> np.ndarray:
    """Mask in the model frame; an object that nearest sampling would lose keeps the pixel of its middle."""
    seen = frame.mask(mask)
    if not seen.any():
        ys, xs = np.nonzero(mask)
        middle = len(ys) // 2
        x, y = (int(v * s) for v, s in zip((xs[middle], ys[middle]), frame.scale, strict=True))
        seen[min(y, frame.inner[0] - 1), min(x, frame.inner[1] - 1)] = True
    return seen


def _picture(base: Base, sample: Sample, view: View) -> torch.Tensor:
    """The view of a picture as the encoder takes it, (3, size, size)."""
    image = view.image(sample.image)
    return Frame.of(base, *image.shape[:2]).image(image, base)


def _remember(memo: OrderedDict, key: object, value: object, most: int) -> None:
    memo[key] = value
    if len(memo) > most:
        memo.popitem(last=False)


__all__ = ["Feed", "HeldOut", "ahead", "join_prompts"]
