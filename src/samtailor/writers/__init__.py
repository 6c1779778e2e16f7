"""Labelled pictures to the files of other programs, one file a format: `find("writers", "coco").write(...)`.

    write(to: Destination, pictures: Iterable[LabelledPicture], classes: Sequence[str]) -> None

Pictures may be iterated once; files are named after the pictures and replace earlier ones of the same name.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from samtailor import outlines
from samtailor.data.writing import replacing
from samtailor.options import choose
from samtailor.types import RunLengths

PICTURES = ("copy", "link", "none")


@dataclass(frozen=True)
class LabelledObject(RunLengths):
    """One object.

    Args:
        label: class name.
        rle: COCO run-length encoding of the mask, picture frame, counts as bytes.
        score: in [0, 1].
        adapter: who answered; None is the base.
    """

    label: str
    rle: dict[str, Any]
    score: float
    adapter: str | None = None


@dataclass(frozen=True)
class LabelledPicture:
    """A picture file with what was found in it.

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
        pictures: "copy" the pictures into the result, hard "link" them (copied across file systems), or "none".
    """

    folder: Path
    vertices: int | None = None
    pictures: str = "copy"

    def __post_init__(self) -> None:
        choose("pictures", self.pictures, PICTURES)

    def file(self, picture: LabelledPicture, folder: str) -> Path:
        """Where the picture stands, relative to the result; its own path where pictures are not put there."""
        if self.pictures == "none":
            return picture.source.resolve()
        return Path(folder) / f"{picture.name}{picture.source.suffix}"

    def put(self, picture: LabelledPicture, folder: str) -> Path:
        """Put the picture into a folder of the result, unless it is there; returns `file`."""
        place = self.file(picture, folder)
        if self.pictures != "none" and not _same(picture.source, self.folder / place):
            self._bring(picture.source, self.folder / place)
        return place

    def _bring(self, source: Path, target: Path) -> None:
        if self.pictures == "link" and _linked(source, target):
            return
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
        os.utime(target, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))

    def parts(self, one: LabelledObject) -> list[np.ndarray]:
        """Polygons of an object within the budget, one for each part."""
        return outlines.polygons(one.mask, self.vertices)

    def whole(self, one: LabelledObject) -> np.ndarray | None:
        """One polygon of an object within the budget."""
        return outlines.polygon(one.mask, self.vertices)


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


__all__ = ["PICTURES", "Destination", "LabelledObject", "LabelledPicture"]
