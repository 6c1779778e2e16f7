"""What the readers of all layouts end in: a sample of a picture file, and annotations of the shapes beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.notices import notice
from samtailor.data.picture import Header, read_picture
from samtailor.data.placement import placed
from samtailor.masks.rle import encode
from samtailor.structures import Annotation, Sample


def file_sample(id: str, picture: Path, annotations: Callable[..., Iterable[Annotation]], *more: Any) -> Sample:
    """Sample of a picture file; `annotations(picture, *more)` is called when they are asked for."""
    return Sample(id, partial(read_picture, picture), partial(annotations, picture, *more), source=picture)


def shape_annotation(
    label: str, rle: dict[str, Any] | None, frame: Header, name: Path | str, crowd: bool = False
) -> Iterator[Annotation]:
    """The annotation of a drawn shape, brought to the picture frame; none, with a notice, where it has no area.

    Args:
        label: class name.
        rle: mask of the shape, run-length encoded; None for a shape without an area in the picture.
        frame: header of the picture.
        name: file and place of the shape, for messages.
        crowd: whether it is a region of many objects.

    Raises:
        DataError: the mask has another aspect than the picture.
    """
    if rle is None:
        notice("empty mask", f"{name}: {label!r} has no area in the picture; left out.")
    else:
        yield Annotation(label, placed(rle, frame, name), crowd)


def mask_annotation(label: str, mask: np.ndarray, name: Path | str) -> Iterator[Annotation]:
    """The annotation of a boolean mask (height, width) in the picture frame; none, with a notice, where it is empty."""
    if mask.any():
        yield Annotation(label, encode(mask))
    else:
        notice("empty mask", f"{name}: the mask is empty; nothing of class {label!r} in this picture.")


__all__ = ["file_sample", "mask_annotation", "shape_annotation"]
