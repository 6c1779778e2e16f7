"""CVAT for images 1.1: annotations.xml with polygons, boxes, ellipses and masks; images in any folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from samtailor.data.drawn import Shape, drawn, without_image
from samtailor.data.finder import ImageFinder, image_id
from samtailor.data.image import header
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, natural_key
from samtailor.data.parts import part_named
from samtailor.data.placement import declared_size
from samtailor.data.xml_files import read_xml, xml_root
from samtailor.errors import DataError
from samtailor.masks.rle import from_polygons
from samtailor.masks.shapes import from_ellipse, from_rotated_box, from_row_runs
from samtailor.structures import Annotation, Sample

_NO_AREA = ("points", "polyline", "tag", "cuboid", "skeleton")
_SHAPES = ("polygon", "box", "ellipse", "mask", *_NO_AREA)


def matches(path: Path) -> bool:
    """Whether there is an XML file with the root `annotations` (all images of a task) in the top folder."""
    return bool(_sheets(path))


def build(path: Path, *, classes: Sequence[str] | None = None) -> Iterable[Sample]:
    """Samples of an export "CVAT for images 1.1". Shapes of one label and `group_id` are one object.

    Points, polylines, cuboids, skeletons and tags are left out and counted. Images without a shape are kept.

    Args:
        path: folder of the data set.
        classes: labels to read; None for all.

    Raises:
        DataError: no file, invalid XML, a video export, an image listed twice, or no image exists. Reading an invalid
            shape, or a size that does not fit the image, raises it too.
        InputError: an unknown class.
    """
    sheets = {file: read_xml(file) for file in _sheets(path)}
    if not sheets:
        raise DataError(f"{path} has no annotations.xml of CVAT in the top folder.")
    names: dict[str, None] = {}
    for file, root in sheets.items():
        if root.find("track") is not None:
            raise DataError(f"{file}: an export of a video (tracks). Export the task as 'CVAT for images 1.1'.")
        names |= dict.fromkeys(_labels(root))
    wanted = frozenset(chosen(classes, sorted(names, key=natural_key)))
    finder, samples, missing = ImageFinder(path), {}, []
    for file, root in sheets.items():
        for entry in root.iter("image"):
            name = entry.get("name") or ""
            image = finder.find(name, file, within=entry.get("subset"))
            if image is None:
                shapes = sum(child.tag in _SHAPES for child in entry)
                sentence = f"{file}: the image {name!r} with {shapes} shapes does not exist and is skipped."
                missing.append(without_image(shapes, sentence))
                continue
            if image in samples:
                raise DataError(f"{file}: the image {name!r} is listed twice.")
            rows = tuple(_row(child) for child in entry if child.tag in _SHAPES)
            size = (entry.get("height"), entry.get("width"))
            part = part_named(entry.get("subset"))
            samples[image] = file_sample(
                image_id(path, image), image, _annotations, rows, size, wanted, str(file), part=part
            )
    if not samples:
        raise DataError(f"None of the images of {next(iter(sheets))} exists below {path}.")
    finder.account(samples, missing, "entry in the XML file")
    return list(samples.values())


def _sheets(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    files = sorted(file for file in path.glob("*.xml") if file.name[0] != ".")[:64]
    return [file for file in files if xml_root(file)[0] == "annotations"]


def _labels(root: ElementTree.Element) -> Iterator[str]:
    for entry in root.iterfind("meta//labels/label"):
        name = (entry.findtext("name") or "").strip()
        if name and entry.findtext("parent") is None:  # points of skeletons have a parent
            yield name
    for image in root.iter("image"):
        for child in image:
            if child.tag in _SHAPES and child.tag not in _NO_AREA and child.get("label"):
                yield str(child.get("label"))


def _row(entry: ElementTree.Element) -> tuple[str, dict[str, str]]:
    return entry.tag, dict(entry.attrib)


def _annotations(
    image: Path,
    rows: Sequence[tuple[str, Mapping[str, str]]],
    size: tuple[str | None, str | None],
    wanted: frozenset[str],
    source: str,
) -> Iterator[Annotation]:
    frame = header(image)
    place = f"{source}, image {image.name!r}"
    given = declared_size(*size, frame, place)
    yield from drawn((_shape(kind, row, i) for i, (kind, row) in enumerate(rows)), wanted, given, frame, place)


def _shape(kind: str, row: Mapping[str, str], number: int) -> Shape:
    draw = None if kind in _NO_AREA else partial(_draw, kind, row)
    group = row.get("group_id")
    place = f"shape {number} ({kind})"
    return Shape(row.get("label", ""), kind, draw, place, group if group not in (None, "", "0") else None)


def _draw(kind: str, row: Mapping[str, str], size: tuple[int, int]) -> dict[str, Any] | None:
    if kind == "polygon":
        points = [float(v) for point in row["points"].split(";") if point for v in point.split(",")]
        return from_polygons([points], size)
    if kind == "ellipse":
        x, y, rx, ry = (float(row[key]) for key in ("cx", "cy", "rx", "ry"))
        return from_ellipse((x, y), (rx, ry), size, float(row.get("rotation", 0)))
    if kind == "mask":
        left, top, width, height = (int(float(row[key])) for key in ("left", "top", "width", "height"))
        runs = [int(v) for v in row["rle"].replace(",", " ").split()]
        return from_row_runs(runs, (left, top, width, height), size, "mask")
    box = [float(row[key]) for key in ("xtl", "ytl", "xbr", "ybr")]
    return from_rotated_box(box, size, float(row.get("rotation", 0)))


__all__ = ["build", "matches"]
