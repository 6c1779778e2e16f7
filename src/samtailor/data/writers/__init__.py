"""Write labeled images in the formats of other programs, one module per format: `write_dataset("coco", ...)`.

    write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str], **options) -> None
    POLYGONS: "parts" or "whole", the method of `Destination` that makes the polygons; absent for masks and boxes
    RESERVED: class names, in lower case, that mean something else in the format; absent if there are none
    READ_WITH: options that the reader of the same name needs to read the result; absent if there are none

Images are iterated once. Files are named after the images and replace existing ones. Keyword-only arguments of `write`
are the options of the format; with the option `rle` masks are written in place of polygons. What the format cannot
hold, a writer reports in `to.report`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from samtailor.data.writers._names import class_texts, image_name
from samtailor.data.writers._report import WriteReport
from samtailor.data.writing import replacing, temporary_beside
from samtailor.errors import InputError
from samtailor.masks import polygons as outlines
from samtailor.masks.rle import from_polygons
from samtailor.registry import choose, find, names, options, refuse_unknown
from samtailor.structures import RunLengths

IMAGE_MODES = ("copy", "link", "none")
COARSE = 0.9
"""IoU of a mask with its polygons below which a vertex budget is reported to have changed the object."""


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
        empty: number of predictions without a pixel, which are not among the objects.
    """

    name: str
    source: Path
    height: int
    width: int
    objects: tuple[LabelledObject, ...]
    empty: int = 0


@dataclass(frozen=True)
class Destination:
    """Where and how a format is written.

    Args:
        folder: output folder.
        vertices: largest number of vertices of the polygons of an object; None stays within half a pixel.
        images: "copy" or hard "link" (copied across file systems) the images to the output folder, or "none".
        report: account of what the format could not hold.

    Raises:
        InputError: an unknown value of `images`.
    """

    folder: Path
    vertices: int | None = None
    images: str = "copy"
    report: WriteReport = field(default_factory=WriteReport, compare=False)

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


def write_dataset(
    format: str,
    to: Destination,
    images: Iterable[LabelledImage],
    classes: Sequence[str],
    given: Mapping[str, Any] | None = None,
) -> WriteReport:
    """Write labeled images in a format, and account for every object.

    Args:
        format: name of a writer.
        to: where and how.
        images: iterated once.
        classes: class names in the order of the result; those of the objects must be among them.
        given: options of the format, see `writer_options`.

    Returns:
        `to.report`: numbers of images and objects, and what was left out, changed or renamed, by reason.

    Raises:
        InputError: an unknown format or option, an object of an unlisted class, or two images of one name.
    """
    writer, chosen = find("writers", format), dict(given or {})
    check_options(format, chosen)
    texts = class_texts(classes, getattr(writer, "RESERVED", ()))
    to.report.renamed |= {_printable(name): text for name, text in texts.items() if text != name}
    polygons = None if chosen.get("rle") else getattr(writer, "POLYGONS", None)
    writer.write(to, _accounted(to, images, texts, polygons), [*texts.values()], **chosen)
    return to.report


def writer_options(format: str) -> dict[str, Any]:
    """Names and default values of the options of a format."""
    return options(find("writers", format).write)


def check_options(format: str, given: Mapping[str, Any]) -> ModuleType:
    """The writer of a format, after checking that it has the given options.

    Raises:
        InputError: an unknown format or option; the message lists the options, or the formats that have the option.
    """
    writer = find("writers", format)
    known = options(writer.write)
    for name in given:
        if name not in known:
            having = [other for other in names("writers") if name in writer_options(other)]
            if having:
                raise InputError(f"The format {format!r} has no option {name!r}. Formats with it: {', '.join(having)}.")
            refuse_unknown(writer.write, [name])
        if isinstance(known[name], bool) and not isinstance(given[name], bool):
            raise InputError(f"{name} must be true or false, got {given[name]!r}.")
    return writer


def _accounted(
    to: Destination, images: Iterable[LabelledImage], texts: Mapping[str, str], polygons: str | None
) -> Iterator[LabelledImage]:
    """The images with written names and polygons, without empty masks; counts what it yields and what it leaves out."""
    report, seen = to.report, set[str]()
    for image in images:
        report.images += 1
        report.objects += len(image.objects)
        name = image_name(image.name)
        if to.images == "none" and name != image.name:
            shown = _printable(image.name)
            report.leave_out_image(shown, len(image.objects), "the name of the image file is not UTF-8 text")
            continue
        if name in seen:
            raise InputError(f"Two images are called {name!r}. Every image of a data set needs its own name.")
        seen.add(name)
        if name != image.name:
            report.renamed[_printable(image.name)] = name
        kept = []
        for one in image.objects:
            if one.label not in texts:
                raise InputError(f"{name}: the class {one.label!r} is not among the classes {', '.join(texts)}.")
            if not one.area:
                report.leave_out(name, texts[one.label], "the mask is empty")
                continue
            drawn = to.drawn(replace(one, label=texts[one.label]), polygons)
            if polygons and to.vertices is not None and _coarse(drawn):
                why = f"fewer vertices than the outline needs (IoU with the mask below {COARSE}, --vertices)"
                report.change(name, drawn.label, why)
            kept.append(drawn)
        yield replace(image, name=name, objects=tuple(kept))


def _coarse(one: LabelledObject) -> bool:
    """Whether the polygons of an object differ visibly from its mask."""
    from pycocotools import mask as coco

    size = (int(one.rle["size"][0]), int(one.rle["size"][1]))
    drawn = from_polygons([ring.ravel().tolist() for ring in one.polygons or ()], size)
    return drawn is None or float(coco.iou([drawn], [one.rle], [0])[0, 0]) < COARSE


def _printable(name: str) -> str:
    """A name that may hold bytes that are not UTF-8, as text."""
    return name.encode("utf-8", "backslashreplace").decode()


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


__all__ = [
    "COARSE",
    "IMAGE_MODES",
    "Destination",
    "LabelledImage",
    "LabelledObject",
    "WriteReport",
    "check_options",
    "write_dataset",
    "writer_options",
]
