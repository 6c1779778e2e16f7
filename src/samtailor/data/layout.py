"""Samples and annotations, as the readers of all layouts make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.account import leave_out, recording
from samtailor.data.image import Header, decode_image, read_image
from samtailor.data.placement import rle_to_image_frame
from samtailor.errors import DataError
from samtailor.limits import MALFORMED, hold, tick, timed
from samtailor.masks.rle import encode
from samtailor.structures import Annotation, Reading, Sample


def file_sample(
    id: str, image: Path, annotations: Callable[..., Iterable[Annotation]], *args: Any, part: str | None = None
) -> Sample:
    """Sample of an image file; its annotations are read lazily as `annotations(image, *args)`.

    What that function counts and leaves out (`data.account`) becomes the tally of the sample.

    Args:
        id: id of the sample.
        image: the image file.
        annotations: a function of a module, so that samples can be sent to worker processes.
        args: its further arguments.
        part: "train", "val" or "test" if the data set assigns the image to one.
    """
    read = partial(_reading, str(image), annotations, image, *args)
    return Sample(id, partial(read_image, image), read, source=image, part=part)


def embedded_sample(
    id: str, read: Callable[[], bytes], annotations: Callable[..., Iterable[Annotation]], *args: Any
) -> Sample:
    """Sample of an image inside an annotation file, of which `read` returns the bytes; the rest as in `file_sample`.

    The annotations are read lazily as `annotations(*args)`.
    """
    return Sample(id, partial(_decoded, read, id), partial(_reading, id, annotations, *args))


def _decoded(read: Callable[[], bytes], id: str) -> np.ndarray:
    return decode_image(read(), f"the embedded image of {id}")


def _reading(what: str, annotations: Callable[..., Iterable[Annotation]], *args: Any) -> Reading:
    """Annotations of an image. A reader that fails on malformed values reports the image, whatever it raised."""
    with recording() as record:
        reading = Reading(_bounded(annotations(*args), what))
    reading.tally = record.annotation_tally(len(reading))
    return reading


def _bounded(annotations: Iterable[Annotation], what: str) -> Iterator[Annotation]:
    """The annotations, within the limits of time and number."""
    count = 0
    try:
        with timed(what):
            for annotation in annotations:
                tick()
                count += 1
                if count % 1000 == 0:
                    hold(count, "objects", what)
                yield annotation
    except DataError:
        raise
    except (OSError, *MALFORMED) as error:
        raise DataError(f"The annotations of {what} cannot be read: {type(error).__name__}: {error!s:.300}") from error


def rle_annotation(
    label: str, rle: dict[str, Any] | None, frame: Header, name: Path | str, crowd: bool = False, drawn: str = "mask"
) -> Iterator[Annotation]:
    """Annotation of an encoded mask, brought to the image frame. Yields nothing, with a notice, if it has no area.

    Args:
        label: class name.
        rle: mask, run-length encoded; None for a shape without area in the image.
        frame: header of the image.
        name: file and place of the annotation, for messages.
        crowd: whether it is a region of many objects.
        drawn: how the file holds it, see `Annotation`.

    Raises:
        DataError: the aspect ratios of mask and image differ.
    """
    if rle is None:
        leave_out("empty mask", f"{name}: {label!r} has no area in the image and is skipped.")
    else:
        yield Annotation(label, rle_to_image_frame(rle, frame, name), crowd, drawn)


def mask_annotation(label: str, mask: np.ndarray, name: Path | str) -> Iterator[Annotation]:
    """Annotation of a boolean mask (height, width) in the image frame. Yields nothing, with a notice, if empty."""
    if mask.any():
        yield Annotation(label, encode(mask))
    else:
        leave_out("empty mask", f"{name}: the mask of class {label!r} is empty and is skipped.")


__all__ = ["embedded_sample", "file_sample", "mask_annotation", "rle_annotation"]
