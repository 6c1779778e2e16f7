"""Banners and backgrounds of the user, sampled by a seed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from samtailor.data.image import SUFFIXES, read_image
from samtailor.data.listing import natural_key
from samtailor.data.synth.street import Backdrop
from samtailor.errors import DataError, InputError

Rng = np.random.Generator

_LONGEST = 1600  # pixels; larger banners are resized


def images(folder: Path, what: str) -> list[Path]:
    """Image files below `folder`, in natural order, without files of equal content.

    Args:
        folder: the folder.
        what: "banners" or "backgrounds", for error messages.

    Raises:
        InputError: the folder does not exist or has no images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder} for the {what}.")
    paths = [
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
    ]
    if not paths:
        raise InputError(f"{folder} has no images for the {what} (supported: {', '.join(sorted(SUFFIXES))}).")
    paths.sort(key=lambda path: natural_key(path.relative_to(folder).as_posix()))
    # copies of one file could be in both training and test images
    unique: dict[bytes, Path] = {}
    for path in paths:
        unique.setdefault(hashlib.sha256(path.read_bytes()).digest(), path)
    return list(unique.values())


def cutout(rng: Rng, files: Sequence[Path]) -> np.ndarray:
    """A random banner, RGBA uint8 (h, w, 4), cropped to its opaque part.

    Raises:
        DataError: the file cannot be read or has no opaque part.
    """
    path = files[int(rng.integers(len(files)))]
    colors = read_image(path)  # raises a DataError for a damaged file
    banner = np.dstack([colors, np.full(colors.shape[:2], 255, np.uint8)])
    with Image.open(path) as image:
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            banner = np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))
    opaque = banner[..., 3] > 127
    rows, columns = np.flatnonzero(opaque.any(1)), np.flatnonzero(opaque.any(0))
    if len(rows) < 4 or len(columns) < 4:
        raise DataError(f"{path}: a banner needs an opaque part of at least 4 x 4 pixels.")
    banner = banner[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _smaller(np.ascontiguousarray(banner))


def backdrop(rng: Rng, files: Sequence[Path], size: tuple[int, int]) -> Backdrop:
    """A random crop of a random background, sometimes mirrored, resized to `size` (height, width)."""
    pixels = read_image(files[int(rng.integers(len(files)))])
    rows, columns = pixels.shape[:2]
    height, width = size
    share = min(columns / width, rows / height) * rng.uniform(0.7, 1.0)
    tall, wide = min(max(int(height * share), 1), rows), min(max(int(width * share), 1), columns)
    y, x = int(rng.integers(rows - tall + 1)), int(rng.integers(columns - wide + 1))
    crop = pixels[y : y + tall, x : x + wide]
    image = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if share > 1 else cv2.INTER_LINEAR)
    if rng.uniform() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    return Backdrop(image, wall=bool(rng.uniform() < 0.85), ground=height)


def _smaller(banner: np.ndarray) -> np.ndarray:
    scale = _LONGEST / max(banner.shape[:2])
    if scale >= 1:
        return banner
    size = (max(int(banner.shape[1] * scale), 1), max(int(banner.shape[0] * scale), 1))
    return cv2.resize(banner, size, interpolation=cv2.INTER_AREA)


__all__ = ["backdrop", "cutout", "images"]
