"""Bring masks of annotation files to the frame of their image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.image import Header, resize_nearest, turn
from samtailor.data.notices import notice
from samtailor.errors import DataError
from samtailor.masks.rle import checked_size, encode

ASPECT_TOLERANCE = 0.01
"""Largest relative difference of aspect ratios that counts as rounding; one pixel is always allowed."""

LARGEST = 100
"""Largest number of pixels that a file may declare for each pixel of its image: ten times its height and width."""


def same_aspect(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (height, width) differ only in scale, up to one pixel of the smaller one or 1 %."""
    (h, w), (H, W) = sorted([size, other], key=lambda s: s[0] * s[1])
    off = min(abs(h - H * w / W), abs(w - W * h / H))  # in pixels of the smaller size, whose rounding is coarser
    return off <= 1.0 or abs((w / h) / (W / H) - 1) <= ASPECT_TOLERANCE


def fits(size: tuple[int, int], image: Header) -> bool:
    """Whether a mask of a size (height, width) has the shape of the image, as shown or as stored (EXIF)."""
    return same_aspect(size, image.size) or (image.orientation >= 5 and same_aspect(size, image.stored))


def to_image_frame(values: np.ndarray, image: Header, name: Path | str, *, quiet: bool = False) -> np.ndarray:
    """Bring a mask or index map (height, width) to the image frame.

    A map drawn on the stored image is rotated by the EXIF orientation. A map of another size but the same aspect ratio
    is resized (nearest neighbor). Both cause a notice.

    Args:
        values: the mask or index map.
        image: header of the image.
        name: file, for messages.
        quiet: no notice for resizing, for layouts in which it is normal.

    Raises:
        DataError: the aspect ratios differ.
    """
    if values.shape == image.size:
        return values
    height, width = values.shape
    if not fits((height, width), image):
        raise _other_aspect((height, width), image, name)
    if not same_aspect((height, width), image.size):
        notice("mask turned", f"{name}: the mask was drawn before the EXIF rotation of its image, and is rotated too.")
        values = turn(values, image.orientation)
    if values.shape != image.size:
        if not quiet:
            old, new = (f"{w}x{h}" for h, w in (values.shape, image.size))
            notice("mask resized", f"{name}: the mask ({old} px) is resized to its image ({new} px).")
        values = resize_nearest(values, image.size)
    return values


def declared_size(height: Any, width: Any, image: Header, name: Path | str) -> tuple[int, int]:
    """The size (height, width) that an annotation file declares, compared with its image before anything is allocated.

    None for both is the size of the image. The image may have been resized since, or be stored rotated (EXIF).

    Raises:
        DataError: not a size, another aspect ratio, or more than `LARGEST` times the image's pixels.
    """
    if height is None and width is None:
        return image.size
    try:
        size = (int(height), int(width))
        if isinstance(height, bool) or min(size) < 1 or (float(height), float(width)) != size:
            raise ValueError(f"{width} x {height}")
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name}: width and height must be integers of at least 1 ({error}).") from error
    shown = f"{name}: declares an image of {size[1]}x{size[0]} px (width x height), but its image is "
    if size[0] * size[1] > LARGEST * image.size[0] * image.size[1]:
        raise DataError(f"{shown}only {image.size[1]}x{image.size[0]} px. Use the image that was labeled.")
    if not fits(size, image):
        raise DataError(f"{shown}{image.size[1]}x{image.size[0]} px, another aspect ratio. Use the labeled image.")
    return size


def _other_aspect(size: tuple[int, int], image: Header, name: Path | str) -> DataError:
    return DataError(
        f"{name}: the mask is {size[1]}x{size[0]} px (width x height), but its image is "
        f"{image.size[1]}x{image.size[0]} px, another aspect ratio. Export the mask at the size of the image."
    )


def rle_to_image_frame(rle: dict[str, Any], image: Header, name: Path | str) -> dict[str, Any]:
    """Bring a run-length encoded mask to the image frame, see `to_image_frame`."""
    from pycocotools import mask as coco

    size = declared_size(*checked_size(rle["size"]), image, name)
    if size == image.size:
        return rle
    return encode(to_image_frame(coco.decode(rle).astype(bool), image, name))


__all__ = [
    "ASPECT_TOLERANCE",
    "LARGEST",
    "declared_size",
    "fits",
    "rle_to_image_frame",
    "same_aspect",
    "to_image_frame",
]
