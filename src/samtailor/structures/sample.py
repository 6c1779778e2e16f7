"""Images of a data set and their objects as run-length encoded masks. Does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.errors import InputError
from samtailor.structures.account import Tally


class RunLengths:
    """Properties of a mask that is stored run-length encoded in `rle`, see `Annotation`."""

    rle: dict[str, Any]

    @property
    def mask(self) -> np.ndarray:
        """Boolean mask (height, width), image frame. Decoded on every access."""
        from pycocotools import mask as coco

        return coco.decode(self.rle).astype(bool)

    @property
    def area(self) -> int:
        """Number of pixels of the mask."""
        from pycocotools import mask as coco

        return int(coco.area(self.rle))

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Tight box (x0, y0, x1, y1) in pixels, x1 and y1 exclusive; (0, 0, 0, 0) for an empty mask."""
        from pycocotools import mask as coco

        x, y, width, height = (float(v) for v in coco.toBbox(self.rle))
        return x, y, x + width, y + height


@dataclass(frozen=True)
class Annotation(RunLengths):
    """One object of an image: its class and its mask, stored run-length encoded.

    Args:
        label: class name.
        rle: COCO run-length encoding, `{"size": [height, width], "counts": bytes}`, in the image frame.
        crowd: a region of many objects (COCO `iscrowd`), never a target of training or evaluation.
        drawn: how the file holds it: "mask", "polygon" (or another outline), or "box", which is a filled rectangle.
    """

    label: str
    rle: dict[str, Any]
    crowd: bool = False
    drawn: str = "mask"

    @classmethod
    def from_mask(cls, label: str, mask: np.ndarray, crowd: bool = False) -> Annotation:
        """Encode a boolean mask of shape (height, width)."""
        from pycocotools import mask as coco

        if mask.ndim != 2:
            raise InputError(f"A mask must have shape (height, width), got {mask.shape}.")
        return cls(label, coco.encode(np.asfortranarray(mask.astype(np.uint8))), crowd)

    def is_target(self, classes: Sequence[str] | None) -> bool:
        """Whether it is a target of training and evaluation: of the given classes (None: all), no crowd, not empty."""
        return not self.crowd and (classes is None or self.label in classes) and self.area > 0


class Reading(list[Annotation]):
    """Annotations of one image, with the tally of what their files contain."""

    tally: Tally | None = None


@dataclass(frozen=True)
class Sample:
    """One image of a data set with its annotations. Files are read lazily.

    Args:
        id: unique within the data set and stable across runs; "/" is the only path separator.
        read_image: returns the image as uint8 RGB, shape (height, width, 3), EXIF rotation applied.
        read_annotations: returns the annotations in a stable order; a `Reading` adds their tally.
        group: images of one group (a person, a video, a patient) stay together in a split.
        source: image file; None for an image in memory.
        part: "train", "val" or "test" if the data set has a split of its own and the image belongs to that part.
    """

    id: str
    read_image: Callable[[], np.ndarray]
    read_annotations: Callable[[], Sequence[Annotation]]
    group: str | None = None
    source: Path | None = None
    part: str | None = None

    @property
    def image(self) -> np.ndarray:
        """uint8 RGB, shape (height, width, 3). Read on every access."""
        return self.read_image()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels. The image is read only if it has no annotation."""
        height, width = self.annotations[0].rle["size"] if self.annotations else self.image.shape[:2]
        return int(height), int(width)

    @cached_property
    def _reading(self) -> tuple[tuple[Annotation, ...], Tally]:
        read = self.read_annotations()
        annotations = tuple(read)
        tally = read.tally if isinstance(read, Reading) else None
        return annotations, tally or Tally(len(annotations), len(annotations))

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """All annotations, read once and kept run-length encoded (0.1 to 1 kB each)."""
        return self._reading[0]

    @property
    def tally(self) -> Tally:
        """How many annotations the files of the image contain, and which of them are left out. Reads them."""
        return self._reading[1]

    def of(self, classes: Sequence[str] | None) -> tuple[Annotation, ...]:
        """Targets of training and evaluation: annotations of the given classes (None: all), no crowds, not empty."""
        return tuple(a for a in self.annotations if a.is_target(classes))


__all__ = ["Annotation", "Reading", "RunLengths", "Sample"]
