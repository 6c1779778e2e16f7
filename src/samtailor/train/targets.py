"""Masks to train on, as the views of their images show them in the model frame; drawn once and kept, so many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from samtailor.bases import Base
from samtailor.data.augment import UNTOUCHED, Augment, View
from samtailor.data.transform import Frame
from samtailor.structures import Annotation, Sample

_MASKS = 4096  # run-length encoded masks of the model frame that are kept, about a kilobyte each
_VIEWS = 65536  # drawn views that are kept, about 300 bytes each
_KEPT = 0.5  # share of a mask that a crop must leave, or the item is taken from the untouched image

Target = tuple[Annotation, Frame, int]
"""Mask in the model frame, its geometry, the view it was taken from."""


class Targets:
    """Masks of images by their places: image i, annotation k, view `index`.

    Args:
        base: gives the model frame.
        samples: the images.
        classes: of which masks are targets; None for all.
        augment: draws the views.
    """

    def __init__(self, base: Base, samples: Sequence[Sample], classes: Sequence[str] | None, augment: Augment) -> None:
        self._base, self._samples, self._classes, self._augment = base, samples, classes, augment
        self._masks: OrderedDict[tuple[int, int, int], Target] = OrderedDict()
        self._views: OrderedDict[tuple[int, int], View] = OrderedDict()

    def of(self, i: int, k: int, index: int) -> Target:
        """Mask in the model frame; of the untouched image where the view lost it or gave it another class."""
        key = (i, k, index)
        if key not in self._masks:
            annotation = self._samples[i].annotations[k]
            seen = self.view(i, index).annotation(annotation)
            if index and (seen.area < _KEPT * annotation.area or not seen.is_target(self._classes)):
                target = self.of(i, k, 0)
            else:
                frame = Frame.of(self._base, *seen.rle["size"])
                target = Annotation.from_mask(seen.label, _in_model(frame, seen.mask)), frame, index
            _remember(self._masks, key, target, _MASKS)
        self._masks.move_to_end(key)
        return self._masks[key]

    def view(self, i: int, index: int) -> View:
        """A view of an image; 0 is the untouched one."""
        if index == 0:
            return UNTOUCHED
        if (i, index) not in self._views:
            _remember(self._views, (i, index), self._augment.draw(self._samples[i], index), _VIEWS)
        return self._views[i, index]


def _in_model(frame: Frame, mask: np.ndarray) -> np.ndarray:
    """Mask in the model frame; an object that nearest sampling would lose keeps the pixel of its middle."""
    seen = frame.mask(mask)
    if not seen.any():
        ys, xs = np.nonzero(mask)
        middle = len(ys) // 2
        x, y = (int(v * s) for v, s in zip((xs[middle], ys[middle]), frame.scale, strict=True))
        seen[min(y, frame.inner[0] - 1), min(x, frame.inner[1] - 1)] = True
    return seen


def _remember(memo: OrderedDict, key: object, value: object, most: int) -> None:
    memo[key] = value
    if len(memo) > most:
        memo.popitem(last=False)


__all__ = ["Target", "Targets"]
