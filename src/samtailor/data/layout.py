"""Samples and annotations, as the readers of all layouts make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.image import Header, read_image
from samtailor.data.notices import notice
from samtailor.data.placement import rle_to_image_frame
from samtailor.errors import DataError
from samtailor.limits import MALFORMED, hold, tick, timed
from samtailor.masks.rle import encode
from samtailor.structures import Annotation, Sample


def file_sample(id: str, image: Path, annotations: Callable[..., Iterable[Annotation]], *args: Any) -> Sample:
    """Sample of an image file; its annotations are read lazily as `annotations(image, *args)`."""
    return Sample(id, partial(read_image, image), partial(_listed, annotations, image, *args), source=image)


def _listed(annotations: Callable[..., Iterable[Annotation]], image: Path, *args: Any) -> list[Annotation]:
    """Annotations of an image. A reader that fails on malformed values reports the image, whatever it raised."""
    listed: list[Annotation] = []
    try:
        with timed(str(image)):
            for annotation in annotations(image, *args):
                tick()
                listed.append(annotation)
                if len(listed) % 1000 == 0:
                    hold(len(listed), "objects", str(image))
    except DataError:
        raise
    except (OSError, *MALFORMED) as error:
        raise DataError(f"The annotations of {image} cannot be read: {type(error).__name__}: {error!s:.300}") from error
    return listed


def rle_annotation(
    label: str, rle: dict[str, Any] | None, frame: Header, name: Path | str, crowd: bool = False
) -> Iterator[Annotation]:
    """Annotation of an encoded mask, brought to the image frame. Yields nothing, with a notice, if it has no area.

    Args:
        label: class name.
        rle: mask, run-length encoded; None for a shape without area in the image.
        frame: header of the image.
        name: file and place of the annotation, for messages.
        crowd: whether it is a region of many objects.

    Raises:
        DataError: the aspect ratios of mask and image differ.
    """
    if rle is None:
        notice("empty mask", f"{name}: {label!r} has no area in the image and is skipped.")
    else:
        yield Annotation(label, rle_to_image_frame(rle, frame, name), crowd)


def mask_annotation(label: str, mask: np.ndarray, name: Path | str) -> Iterator[Annotation]:
    """Annotation of a boolean mask (height, width) in the image frame. Yields nothing, with a notice, if empty."""
    if mask.any():
        yield Annotation(label, encode(mask))
    else:
        notice("empty mask", f"{name}: the mask of class {label!r} is empty and is skipped.")


__all__ = ["file_sample", "mask_annotation", "rle_annotation"]
