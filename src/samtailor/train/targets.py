"""Target masks of augmented views, in the model frame, with a bounded cache."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samtailor.bases import Base
from samtailor.cache.bounded import BoundedCache
from samtailor.data.augment import UNTOUCHED, Augment, View
from samtailor.data.transform import Frame
from samtailor.structures import Annotation, Sample

MAX_MASKS = 4096
"""Largest number of cached masks, run-length encoded, about a kilobyte each."""
MAX_VIEWS = 65536
"""Largest number of cached views, about 300 bytes each."""
_MIN_SHARE = 0.5  # if a crop keeps less of the mask, the original image is used

Target = tuple[Annotation, Frame, int]
"""Mask in the model frame, its geometry, and the number of its view."""


class Targets:
    """Masks by image i, annotation k and view `index`.

    Args:
        base: defines the model frame.
        samples: the images.
        classes: classes of the target masks; None for all.
        augment: draws the views.
    """

    def __init__(self, base: Base, samples: Sequence[Sample], classes: Sequence[str] | None, augment: Augment) -> None:
        self._base, self._samples, self._classes, self._augment = base, samples, classes, augment
        self._masks: BoundedCache[tuple[int, int, int], Target] = BoundedCache(MAX_MASKS)
        self._views: BoundedCache[tuple[int, int], View] = BoundedCache(MAX_VIEWS, lru=False)

    def of(self, i: int, k: int, index: int) -> Target:
        """Mask in the model frame; that of the original image if the view cuts it off or changes its class."""
        key = (i, k, index)
        if (kept := self._masks.get(key)) is not None:
            return kept
        annotation = self._samples[i].annotations[k]
        transformed = self.view(i, index).annotation(annotation)
        if index and (transformed.area < _MIN_SHARE * annotation.area or not transformed.is_target(self._classes)):
            return self._masks.put(key, self.of(i, k, 0))
        frame = Frame.of(self._base, *transformed.rle["size"])
        target = Annotation.from_mask(transformed.label, _in_model(frame, transformed.mask)), frame, index
        return self._masks.put(key, target)

    def view(self, i: int, index: int) -> View:
        """A view of an image; view 0 is the original."""
        if index == 0:
            return UNTOUCHED
        if (kept := self._views.get((i, index))) is not None:
            return kept
        return self._views.put((i, index), self._augment.draw(self._samples[i], index))


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
