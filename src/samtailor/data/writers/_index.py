"""Index maps: one number per pixel. Where objects overlap, the smaller one is on top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from samtailor.data.voc_palette import palette
from samtailor.data.writers import Destination, LabelledImage, LabelledObject
from samtailor.data.writing import replacing

VOID = 255
"""Index of regions without a class in PASCAL VOC and most class maps; never given to an object or a class."""
LARGEST = 65535
OVERLAP = "pixels that a smaller object covers too belong to the smaller one"
BOX = "smaller objects cover the mask completely, only the box is written"
HIDDEN = "smaller objects cover it completely, and a pixel holds one number"


def numbers(count: int) -> list[int]:
    """The first numbers from 1 that are not `VOID`."""
    return [number for number in range(1, count + 2) if number != VOID][:count]


def painted(
    image: LabelledImage, to: Destination, *, boxes: bool = False
) -> tuple[np.ndarray, dict[int, LabelledObject]]:
    """Objects of an image as positions in `image.objects`, counted from 1: int32 (height, width), 0 is the background.

    Of two objects of one area the first is on top. Covered objects are counted in `to.report`.

    Args:
        image: image and objects.
        to: holds the report.
        boxes: whether the format keeps the box of an object without a visible pixel.

    Returns:
        the map, and the objects that have at least one pixel in it, by number.
    """
    index = np.zeros((image.height, image.width), np.int32)
    areas = [one.area for one in image.objects]
    for place in sorted(range(len(areas)), key=lambda place: (-areas[place], -place)):
        index[image.objects[place].mask] = place + 1
    left = np.bincount(index.ravel(), minlength=len(areas) + 1)[1:]
    for one, area, visible in zip(image.objects, areas, left, strict=True):
        if not visible:
            report = to.report.change if boxes else to.report.leave_out
            report(image.name, one.label, BOX if boxes else HIDDEN)
        elif visible < area:
            to.report.change(image.name, one.label, OVERLAP)
    return index, {n: one for n, one in enumerate(image.objects, 1) if left[n - 1]}


def recolored(index: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Replace each number n of a map by `values[n]`: uint8, or uint16 if a value is above 255."""
    table = np.asarray(values)
    return table.astype(np.uint8 if table.max(initial=0) <= 255 else np.uint16)[index]


def write_palette_png(path: Path, index: np.ndarray) -> None:
    """Write a map (uint8) as a PNG file with the palette of PASCAL VOC, atomically."""
    image = Image.fromarray(np.ascontiguousarray(index, np.uint8), mode="P")
    image.putpalette(palette().ravel().tolist())
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")


__all__ = [
    "BOX",
    "HIDDEN",
    "LARGEST",
    "OVERLAP",
    "VOID",
    "numbers",
    "painted",
    "recolored",
    "write_palette_png",
]
