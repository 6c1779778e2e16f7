"""Masks of annotation files brought to the frame of their image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.image import Header, resize_nearest, turn
from samtailor.data.notices import notice
from samtailor.errors import DataError
from samtailor.masks.rle import encode

ASPECT_TOLERANCE = 0.01
"""Largest relative difference in aspect that is still taken for rounding; one pixel is always allowed."""


def same_aspect(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two (height, width) differ by scale alone: within one pixel of the smaller one, or 1 %."""
    (h, w), (H, W) = sorted([size, other], key=lambda s: s[0] * s[1])
    off = min(abs(h - H * w / W), abs(w - W * h / H))  # pixels of the smaller one, where one pixel is coarse
    return off <= 1.0 or abs((w / h) / (W / H) - 1) <= ASPECT_TOLERANCE


def fitted(values: np.ndarray, image: Header, name: Path | str, *, quiet: bool = False) -> np.ndarray:
    """Bring a (height, width) mask or index map to the image frame.

    A map drawn on the image as stored is turned along with its EXIF rotation; one of another size but the same
    aspect is resized (nearest). Both with a notice; `quiet` leaves out the second, where a layout is known for it.

    Raises:
        DataError: another aspect than the image's.
    """
    if values.shape == image.size:
        return values
    if not same_aspect(values.shape, image.size):
        if not (image.orientation >= 5 and same_aspect(values.shape, image.stored)):
            raise DataError(
                f"{name}: the mask is {values.shape[1]}x{values.shape[0]} px (width x height) but its image is "
                f"{image.size[1]}x{image.size[0]}, another aspect. Which pixels belong together is unknown: "
                "export the mask again at the size of the image."
            )
        notice("mask turned", f"{name}: the mask was drawn before the EXIF rotation of its image; turned along.")
        values = turn(values, image.orientation)
    if values.shape != image.size:
        if not quiet:
            old, new = (f"{w}x{h}" for h, w in (values.shape, image.size))
            notice("mask resized", f"{name}: the mask is {old} px and its image {new}; resized (nearest).")
        values = resize_nearest(values, image.size)
    return values


def placed(rle: dict[str, Any], image: Header, name: Path | str) -> dict[str, Any]:
    """Bring a run-length encoded mask to the image frame (see `fitted`)."""
    from pycocotools import mask as coco

    if tuple(rle["size"]) == image.size:
        return rle
    return encode(fitted(coco.decode(rle).astype(bool), image, name))


__all__ = ["ASPECT_TOLERANCE", "fitted", "placed", "same_aspect"]
