"""Target masks of augmented views, in the model frame, with a bounded cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from samtailor.bases import Base
from samtailor.data.augment import UNTOUCHED, Augment, View
from samtailor.data.transform import Frame
from samtailor.structures import Annotation, Sample

MAX_MASKS = 4096
"""Largest number of cached masks, run-length encoded, about a kilobyte each."""
MAX_VIEWS = 65536
"""Largest number of cached views, about 300 bytes each."""
_MIN_SHARE = 0.5  # if a crop keeps less of the mask, the original image is used

Key = TypeVar("Key")
Value = TypeVar("Value")
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
        self._masks: OrderedDict[tuple[int, int, int], Target] = OrderedDict()
        self._views: OrderedDict[tuple[int, int], View] = OrderedDict()

    def of(self, i: int, k: int, index: int) -> Target:
        """Mask in the model frame; that of the original image if the view cuts it off or changes its class."""
        key = (i, k, index)
        if key not in self._masks:
            annotation = self._samples[i].annotations[k]
            shown = self.view(i, index).annotation(annotation)
            if index and (shown.area < _MIN_SHARE * annotation.area or not shown.is_target(self._classes)):
                target = self.of(i, k, 0)
            else:
                frame = Frame.of(self._base, *shown.rle["size"])
                target = Annotation.from_mask(shown.label, _in_model(frame, shown.mask)), frame, index
            _remember(self._masks, key, target, MAX_MASKS)
        self._masks.move_to_end(key)
        return self._masks[key]

    def view(self, i: int, index: int) -> View:
        """A view of an image; view 0 is the original."""
        if index == 0:
            return UNTOUCHED
        if (i, index) not in self._views:
            _remember(self._views, (i, index), self._augment.draw(self._samples[i], index), MAX_VIEWS)
        return self._views[i, index]


def _in_model(frame: Frame, mask: np.ndarray) -> np.ndarray:
    """Mask in the model frame; an object too small for nearest sampling keeps one pixel."""
    resized = frame.mask(mask)
    if not resized.any():
        ys, xs = np.nonzero(mask)
        middle = len(ys) // 2
        x, y = (int(v * s) for v, s in zip((xs[middle], ys[middle]), frame.scale, strict=True))
        resized[min(y, frame.inner[0] - 1), min(x, frame.inner[1] - 1)] = True
    return resized


def _remember(cache: OrderedDict[Key, Value], key: Key, value: Value, limit: int) -> None:
    """Add an entry and drop the oldest one beyond the limit."""
    cache[key] = value
    if len(cache) > limit:
        cache.popitem(last=False)


__all__ = ["MAX_MASKS", "MAX_VIEWS", "Target", "Targets"]
