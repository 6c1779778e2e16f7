"""Write labeled images in the formats of other programs, one module per format: `find("writers", "coco").write(...)`.

    write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None
    POLYGONS: "parts" or "whole", the method of `Destination` that makes the polygons; absent for masks and boxes

Images are iterated once. Files are named after the images and replace existing ones.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.writing import replacing, temporary_beside
from samtailor.masks import polygons as outlines
from samtailor.registry import choose
from samtailor.structures import RunLengths

IMAGE_MODES = ("copy", "link", "none")


@dataclass(frozen=True)
class LabelledObject(RunLengths):
    """One predicted object.

    Args:
        label: class name.
        rle: COCO run-length encoding of the mask, image frame, counts as bytes.
        score: in [0, 1].
        adapter: name of the adapter that predicted it; None is the base.
        polygons: polygons for the format to be written, if already computed, see `Destination.drawn`.
    """

    label: str
    rle: dict[str, Any]
    score: float
    adapter: str | None = None
    polygons: tuple[np.ndarray, ...] | None = None


@dataclass(frozen=True)
class LabelledImage:
    """An image file and its predicted objects.

    Args:
        name: unique name without suffix, "/" between folders.
        source: the image file.
        height, width: in pixels, after the EXIF rotation.
        objects: objects by falling score.
    """

    name: str
    source: Path
    height: int
    width: int
    objects: tuple[LabelledObject, ...]


@dataclass(frozen=True)
class Destination:
    """Where and how a format is written.

    Args:
        folder: output folder.
        vertices: largest number of vertices of the polygons of an object; None stays within half a pixel.
        images: "copy" or hard "link" (copied across file systems) the images to the output folder, or "none".

    Raises:
        InputError: an unknown value of `images`.
    """

    folder: Path
    vertices: int | None = None
    images: str = "copy"

    def __post_init__(self) -> None:
        choose("images", self.images, IMAGE_MODES)

    def file(self, image: LabelledImage, folder: str) -> Path:
        """Path of the image relative to the output folder; its source if images are not written there."""
        if self.images == "none":
            return image.source.resolve()
        return Path(folder) / f"{image.name}{image.source.suffix}"

    def put(self, image: LabelledImage, folder: str) -> Path:
        """Copy or link the image to a folder of the output, unless it exists; returns `file`."""
        place = self.file(image, folder)
        if self.images != "none" and not _same(image.source, self.folder / place):
            self._transfer(image.source, self.folder / place)
        return place

    def _transfer(self, source: Path, target: Path) -> None:
        if self.images == "link" and _linked(source, target):
            return
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
        os.utime(target, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))

    def parts(self, one: LabelledObject) -> list[np.ndarray]:
        """Polygons of an object within the vertex budget, one per part."""
        if one.polygons is not None:
            return list(one.polygons)
        mask, corner = _window(one)
        return [ring + corner for ring in outlines.polygons(mask, self.vertices)]

    def whole(self, one: LabelledObject) -> np.ndarray | None:
        """One polygon of an object within the vertex budget; None for an empty mask."""
        if one.polygons is not None:
            return one.polygons[0] if one.polygons else None
        mask, corner = _window(one)
        ring = outlines.polygon(mask, self.vertices)
        return None if ring is None else ring + corner

    def drawn(self, one: LabelledObject, polygons: str | None) -> LabelledObject:
        """The object with the polygons of a format (its `POLYGONS`)."""
        if polygons is None or one.polygons is not None:
            return one
        rings = self.parts(one) if polygons == "parts" else [self.whole(one)]
        return replace(one, polygons=tuple(ring for ring in rings if ring is not None))


def _window(one: LabelledObject) -> tuple[np.ndarray, np.ndarray]:
    """The mask within its box, and the corner (x, y) of the box; faster than the whole of a large image."""
    x0, y0, x1, y1 = (int(value) for value in one.box)
    return one.mask[y0:y1, x0:x1], np.array([x0, y0], np.float32)


def _linked(source: Path, target: Path) -> bool:
    """Create a hard link atomically; False if the file system does not support it (another disk)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target)
    try:
        os.link(source, temporary)
    except OSError:
        return False
    os.replace(temporary, target)
    return True


def _same(source: Path, target: Path) -> bool:
    try:
        one, other = source.stat(), target.stat()
    except FileNotFoundError:
        return False
    return (one.st_size, int(one.st_mtime)) == (other.st_size, int(other.st_mtime))


__all__ = ["IMAGE_MODES", "Destination", "LabelledImage", "LabelledObject"]
