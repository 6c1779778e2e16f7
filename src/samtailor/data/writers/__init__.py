"""Labeled images to the files of other programs, one file a format: `find("writers", "coco").write(...)`.

    write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None
    POLYGONS: "parts" or "whole", which of `Destination`'s the format is made of; absent where it holds masks or boxes

Images may be iterated once; files are named after the images and replace earlier ones of the same name.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from samtailor.data.writing import replacing
from samtailor.masks import polygons as outlines
from samtailor.registry import choose
from samtailor.structures import RunLengths

IMAGE_MODES = ("copy", "link", "none")


@dataclass(frozen=True)
class LabelledObject(RunLengths):
    """One object.

    Args:
        label: class name.
        rle: COCO run-length encoding of the mask, image frame, counts as bytes.
        score: in [0, 1].
        adapter: who answered; None is the base.
        polygons: what `Destination` draws of it for the format that it is on its way to, where that was done already.
    """

    label: str
    rle: dict[str, Any]
    score: float
    adapter: str | None = None
    polygons: tuple[np.ndarray, ...] | None = None


@dataclass(frozen=True)
class LabelledImage:
    """An image file with what was found in it.

    Args:
        name: unique, without ending, "/" between folders.
        source: the file.
        height, width: pixels, after the EXIF rotation.
        objects: by falling score.
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
        folder: of the result.
        vertices: budget of an object's polygons; None: within half a pixel.
        images: "copy" the images into the result, hard "link" them (copied across file systems), or "none".
    """

    folder: Path
    vertices: int | None = None
    images: str = "copy"

    def __post_init__(self) -> None:
        choose("images", self.images, IMAGE_MODES)

    def file(self, image: LabelledImage, folder: str) -> Path:
        """Where the image stands, relative to the result; its own path where images are not put there."""
        if self.images == "none":
            return image.source.resolve()
        return Path(folder) / f"{image.name}{image.source.suffix}"

    def put(self, image: LabelledImage, folder: str) -> Path:
        """Put the image into a folder of the result, unless it is there; returns `file`."""
        place = self.file(image, folder)
        if self.images != "none" and not _same(image.source, self.folder / place):
            self._bring(image.source, self.folder / place)
        return place

    def _bring(self, source: Path, target: Path) -> None:
        if self.images == "link" and _linked(source, target):
            return
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
        os.utime(target, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))

    def parts(self, one: LabelledObject) -> list[np.ndarray]:
        """Polygons of an object within the budget, one for each part."""
        if one.polygons is not None:
            return list(one.polygons)
        mask, corner = _window(one)
        return [ring + corner for ring in outlines.polygons(mask, self.vertices)]

    def whole(self, one: LabelledObject) -> np.ndarray | None:
        """One polygon of an object within the budget; None of an empty mask."""
        if one.polygons is not None:
            return one.polygons[0] if one.polygons else None
        mask, corner = _window(one)
        ring = outlines.polygon(mask, self.vertices)
        return None if ring is None else ring + corner

    def drawn(self, one: LabelledObject, polygons: str | None) -> LabelledObject:
        """The object with the polygons that a format is made of (its `POLYGONS`)."""
        if polygons is None or one.polygons is not None:
            return one
        found = self.parts(one) if polygons == "parts" else [self.whole(one)]
        return replace(one, polygons=tuple(ring for ring in found if ring is not None))


def _window(one: LabelledObject) -> tuple[np.ndarray, np.ndarray]:
    """The mask within its box, and the box's corner (x, y): the rest of a large image is not looked through."""
    x0, y0, x1, y1 = (int(value) for value in one.box)
    return one.mask[y0:y1, x0:x1], np.array([x0, y0], np.float32)


def _linked(source: Path, target: Path) -> bool:
    """A hard link, at once; False where the file system cannot (another disk)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{uuid4().hex[:8]}{target.suffix}")
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


__all__ = ["IMAGES", "Destination", "LabelledImage", "LabelledObject"]
