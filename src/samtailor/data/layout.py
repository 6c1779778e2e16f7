"""What the readers of all layouts end in: a sample of an image file, and annotations of the shapes beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.image import Header, read_image
from samtailor.data.notices import notice
from samtailor.data.placement import placed
from samtailor.masks.rle import encode
from samtailor.structures import Annotation, Sample


def file_sample(id: str, image: Path, annotations: Callable[..., Iterable[Annotation]], *more: Any) -> Sample:
    """Sample of an image file; `annotations(image, *more)` is called when they are asked for."""
    return Sample(id, partial(read_image, image), partial(annotations, image, *more), source=image)


def shape_annotation(
    label: str, rle: dict[str, Any] | None, frame: Header, name: Path | str, crowd: bool = False
) -> Iterator[Annotation]:
    """The annotation of a drawn shape, brought to the image frame; none, with a notice, where it has no area.

    Args:
        label: class name.
        rle: mask of the shape, run-length encoded; None for a shape without an area in the image.
        frame: header of the image.
        name: file and place of the shape, for messages.
        crowd: whether it is a region of many objects.

    Raises:
        DataError: the mask has another aspect than the image.
    """
    if rle is None:
        notice("empty mask", f"{name}: {label!r} has no area in the image; left out.")
    else:
        yield Annotation(label, placed(rle, frame, name), crowd)


def mask_annotation(label: str, mask: np.ndarray, name: Path | str) -> Iterator[Annotation]:
    """The annotation of a boolean mask (height, width) in the image frame; none, with a notice, where it is empty."""
    if mask.any():
        yield Annotation(label, encode(mask))
    else:
        notice("empty mask", f"{name}: the mask is empty; nothing of class {label!r} in this image.")


__all__ = ["file_sample", "mask_annotation", "shape_annotation"]
