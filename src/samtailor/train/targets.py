"""Target masks of augmented views, in the model frame, with a bounded cache in memory and, for many masks, on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from samtailor.bases import Base
from samtailor.cache.bounded import BoundedCache
from samtailor.cache.masks import MaskCache, PackedMask
from samtailor.data.augment import UNTOUCHED, Augment, View
from samtailor.data.transform import Frame
from samtailor.structures import Annotation, Sample

MAX_MASKS = 4096
"""Largest number of masks in memory, packed, a few kilobytes each."""
MAX_VIEWS = 65536
"""Largest number of cached views, about 300 bytes each."""
_MIN_SHARE = 0.5  # if a crop keeps less of the mask, the original image is used


@dataclass(frozen=True)
class Target:
    """A mask to train on.

    Args:
        label: class name.
        packed: the mask in the model frame.
        frame: its geometry.
        index: number of its view.
    """

    label: str
    packed: PackedMask
    frame: Frame
    index: int

    @property
    def mask(self) -> np.ndarray:
        """Boolean mask (size, size), model frame. Unpacked on every access."""
        return self.packed.mask


class Targets:
    """Masks by image i, annotation k and view `index`.

    Args:
        base: defines the model frame.
        samples: the images.
        classes: classes of the target masks; None for all.
        augment: draws the views.
        disk: keeps masks that do not fit in memory; None to compute them again.
    """

    def __init__(
        self,
        base: Base,
        samples: Sequence[Sample],
        classes: Sequence[str] | None,
        augment: Augment,
        disk: MaskCache | None = None,
    ) -> None:
        self._base, self._samples, self._classes, self._augment = base, samples, classes, augment
        self._disk = disk
        self._masks: BoundedCache[tuple[int, int, int], Target] = BoundedCache(MAX_MASKS, thread_safe=True)
        self._views: BoundedCache[tuple[int, int], View] = BoundedCache(MAX_VIEWS, lru=False, thread_safe=True)

    def of(self, i: int, k: int, index: int) -> Target:
        """Mask in the model frame; that of the original image if the view cuts it off or changes its class."""
        key = (i, k, index)
        if (kept := self._masks.get(key)) is not None:
            return kept
        annotation, view = self._samples[i].annotations[k], self.view(i, index)
        label = view.labels.get(annotation.label, annotation.label) if view.flip else annotation.label
        frame = Frame.of(self._base, *view.size(*annotation.rle["size"]))
        packed = PackedMask.of(None)
        if not index or self._classes is None or label in self._classes:
            packed = self._packed(annotation, view, frame)
        target = Target(label, packed, frame, index) if packed.bits else self.of(i, k, 0)
        return self._masks.put(key, target)

    def view(self, i: int, index: int) -> View:
        """A view of an image; view 0 is the original."""
        if index == 0:
            return UNTOUCHED
        if (kept := self._views.get((i, index))) is not None:
            return kept
        return self._views.put((i, index), self._augment.draw(self._samples[i], index))

    def _packed(self, annotation: Annotation, view: View, frame: Frame) -> PackedMask:
        """The mask in the model frame; no mask if the view keeps too little of it."""

        def make() -> PackedMask:
            mask = view.mask(annotation.mask)
            if not view.untouched and mask.sum() < _MIN_SHARE * annotation.area:
                return PackedMask.of(None)
            return PackedMask.of(_in_model(frame, mask))

        if self._disk is None:
            return make()
        how = f"{view.key} {self._base.size} {self._base.squash} {_MIN_SHARE}"
        return self._disk.get(annotation.rle, how, make)


def _in_model(frame: Frame, mask: np.ndarray) -> np.ndarray:
    """Mask in the model frame; an object too small for nearest sampling keeps one pixel."""
    resized = frame.mask(mask)
    if not resized.any():
        ys, xs = np.nonzero(mask)
        middle = len(ys) // 2
        x, y = (int(v * s) for v, s in zip((xs[middle], ys[middle]), frame.scale, strict=True))
        resized[min(y, frame.inner[0] - 1), min(x, frame.inner[1] - 1)] = True
    return resized


__all__ = ["MAX_MASKS", "MAX_VIEWS", "Target", "Targets"]
