"""Labeled images for tests of writers: holes, several parts, overlaps, an image without objects, a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from samtailor.data.writers import Destination, LabelledImage, LabelledObject, WriteReport, write_dataset
from samtailor.masks.rle import encode

SIZE = (60, 90)
CLASSES = ["ring", "box"]


def ring(height: int = SIZE[0], width: int = SIZE[1]) -> np.ndarray:
    """A ring with a hole, and a second part."""
    y, x = np.mgrid[:height, :width]
    far = np.hypot(y - 28, x - 30)
    apart = (abs(y - 50) < 4) & (abs(x - 75) < 6)
    return ((far < 20) & (far > 8)) | apart


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    """A filled box in an image of `SIZE`."""
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


def box() -> np.ndarray:
    """A box beside the ring."""
    return rectangle(5, 60, 20, 85)


def labeled(folder: Path, name: str, *objects: tuple[str, np.ndarray], suffix: str = ".png") -> LabelledImage:
    """An image file with objects of falling score."""
    source = folder / f"{name}{suffix}"
    source.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(name) + sum(map(ord, name))).integers(0, 255, (*SIZE, 3), np.uint8)
    Image.fromarray(pixels).save(source)
    made = [
        LabelledObject(label, encode(mask), round(0.9 - 0.1 * i, 6), "x") for i, (label, mask) in enumerate(objects)
    ]
    return LabelledImage(name, source, *SIZE, tuple(made))


def usual(folder: Path) -> list[LabelledImage]:
    """Three images: two objects, none (in a folder), one object."""
    return [
        labeled(folder, "a", ("ring", ring()), ("box", box())),
        labeled(folder, "trip/b"),
        labeled(folder, "c", ("box", box())),
    ]


def write(
    format: str, images: Iterable[LabelledImage], folder: Path, classes: list[str] = CLASSES, /, **more: object
) -> WriteReport:
    """Write images; `more` are options of the format, and vertices and images of the destination."""
    place = {name: more.pop(name) for name in ("vertices", "images") if name in more}
    return write_dataset(format, Destination(folder, **place), iter(images), classes, more)
