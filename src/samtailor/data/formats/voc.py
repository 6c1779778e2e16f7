"""Pascal VOC: JPEGImages/ or images/ with boxes in Annotations/NAME.xml, or SegmentationClass/ (and Object/)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from samtailor.data.account import describe
from samtailor.data.class_lists import NOTHING, names_file, read_names
from samtailor.data.color_maps import palette_file
from samtailor.data.drawn import Draw, Shape, drawn
from samtailor.data.image import SUFFIXES, header
from samtailor.data.index_maps import of_classes, of_objects
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, files, has_files, natural_key, paired, subfolder
from samtailor.data.notices import notice
from samtailor.data.parts import list_parts
from samtailor.data.placement import declared_size, to_image_frame
from samtailor.data.voc_palette import read_voc_index
from samtailor.data.xml_files import read_xml
from samtailor.errors import DataError
from samtailor.masks.rle import from_box, from_polygons
from samtailor.registry import choose
from samtailor.structures import Annotation, Sample

_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_VOID = 255
_SAMPLED = 12  # maps that are read to number a list of class names


def matches(path: Path) -> bool:
    """Whether there are images and XML files, or SegmentationClass/ without a labelmap.txt of colors alone."""
    if _images(path) is None:
        return False
    if has_files(_classes_folder(path), *SUFFIXES):
        # with colors it is an export of CVAT, see cvat_masks; samtailor writes labels.json too, with exact names
        return palette_file(path / "labelmap.txt") is None or (path / "labels.json").is_file()
    return has_files(subfolder(path, "annotations"), ".xml")


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    masks: str = "auto",
    one_based: bool = False,
    first_index: int | None = None,
    unlabeled: str = "skip",
) -> Iterable[Sample]:
    """Samples of a Pascal VOC data set.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.
        masks: "boxes" uses the shapes of the XML files: polygons, rotated boxes, and boxes as rectangular masks;
            "segmentation" reads SegmentationClass/, divided into objects by SegmentationObject/ if present; "auto" is
            segmentation if that folder exists, else boxes. Class names are those of a labels.json, class_names.txt or
            classes.txt, else those of VOC.
        one_based: xmin and ymin count from 1 and xmax, ymax are inclusive (VOC devkit). By default the four numbers
            are the edges of the box.
        first_index: number of the first class of a text file; None decides, see `class_lists.read_names`.
        unlabeled: "skip" leaves out images without an annotation file; "negative" reads them as without objects.

    Raises:
        DataError: folders are missing, no image has annotations, invalid XML, or an object without name or box.
        InputError: an unknown class or option.
    """
    choose("masks", masks, ("auto", "boxes", "segmentation"))
    images = _images(path)
    if images is None:
        raise DataError(f"{path} has no image folder JPEGImages/ or images/.")
    image_files = files(images, role="image")
    if masks != "boxes" and has_files(_classes_folder(path), *SUFFIXES):
        return _segmented(path, image_files, classes, first_index, unlabeled)
    if masks == "segmentation":
        raise DataError(f"{path} has no masks in SegmentationClass/.")
    folder = subfolder(path, "annotations")
    sheets = files(folder, [".xml"], role="annotation") if folder else {}
    samples = boxed(image_files, sheets, classes, one_based, unlabeled)
    parts = list_parts(subfolder(subfolder(path, "ImageSets") or path, "Main"))
    return [replace(sample, part=parts.get(sample.id.rpartition("/")[2])) for sample in samples]


def _images(path: Path) -> Path | None:
    return subfolder(path, "JPEGImages", "images")


def _classes_folder(path: Path) -> Path | None:
    return subfolder(path, "SegmentationClass")


def boxed(
    images: Mapping[str, Path],
    sheets: Mapping[str, Path],
    classes: Sequence[str] | None,
    one_based: bool,
    unlabeled: str = "skip",
) -> list[Sample]:
    """Samples of images and VOC's XML files by stem, for layouts that store them in other places too.

    Raises:
        DataError, InputError: see `build`.
    """
    stems = paired(images, sheets, "XML file", unlabeled=unlabeled, content=lambda file: len(_objects(file)))
    known = {_checked(entry, sheets[stem]) for stem in stems if stem in sheets for entry in _objects(sheets[stem])}
    wanted = frozenset(chosen(classes, sorted(known, key=natural_key)))
    return [file_sample(stem, images[stem], _shapes, sheets.get(stem), wanted, one_based) for stem in stems]


def _objects(file: Path) -> list[ElementTree.Element]:
    return list(read_xml(file).iter("object"))


def _name(entry: ElementTree.Element, file: Path) -> str:
    name = (entry.findtext("name") or "").strip()
    if not name:
        raise DataError(f"{file}: an object has no name.")
    return name


def _checked(entry: ElementTree.Element, file: Path) -> str:
    """Name of an object whose shape is valid."""
    name = _name(entry, file)
    _shape(entry, name, file, False)
    return name


def _shapes(image: Path, file: Path | None, wanted: frozenset[str], one_based: bool) -> Iterator[Annotation]:
    if file is None:
        return
    frame, sheet = header(image), read_xml(file)
    size = declared_size(*(_size(sheet) or frame.size), frame, file)
    shapes = []
    for position, entry in enumerate(sheet.iter("object"), 1):
        name, place = _name(entry, file), f"object {position}"
        kind, draw = _shape(entry, name, file, one_based)
        if kind == "box":
            notice("box as mask", f"{file}, {place}: only a box, which is used as a rectangular mask.")
        shapes.append(Shape(name, kind, draw, place))
    yield from drawn(shapes, wanted, size, frame, file)


def _shape(entry: ElementTree.Element, name: str, file: Path, one_based: bool) -> tuple[str, Draw]:
    """Kind of the shape of an object, and the function that draws it: polygon, else rotated box, else box."""
    polygons = [points for part in entry.findall("polygon") if len(points := _points(part, file)) >= 6]
    if polygons:
        return "polygon", partial(from_polygons, polygons)
    if (rotated := entry.find("robndbox")) is not None:  # roLabelImg: the angle is in radians
        x, y, w, h, angle = _numbers(rotated, ("cx", "cy", "w", "h", "angle"), name, file)
        across, down = (
            np.array([math.cos(angle), math.sin(angle)]) * w / 2,
            np.array([-math.sin(angle), math.cos(angle)]),
        )
        down = down * h / 2
        corners = [(x, y) + across * i + down * j for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        return "rotated box", partial(from_polygons, [np.concatenate(corners).tolist()])
    box = entry.find("bndbox")
    values = _numbers(box if box is not None else entry, ("xmin", "ymin", "xmax", "ymax"), name, file)
    (x0, x1), (y0, y1) = sorted(values[::2]), sorted(values[1::2])
    return "box", partial(from_box, (x0 - one_based, y0 - one_based, x1, y1))


def _numbers(entry: ElementTree.Element, keys: Sequence[str], name: str, file: Path) -> list[float]:
    try:
        values = [float(entry.findtext(key) or "") for key in keys]
        if not all(map(math.isfinite, values)):
            raise ValueError(f"{values}")
    except ValueError as error:
        raise DataError(f"{file}: {name!r} needs a bndbox with xmin, ymin, xmax, ymax ({error}).") from error
    return values


def _points(polygon: ElementTree.Element, file: Path) -> list[float]:
    """Corners of a polygon: <x1> <y1> <x2> ... (Roboflow) or <pt><x> <y></pt> ... (LabelMe)."""
    points: dict[int, list[str]] = {}
    for position, child in enumerate(polygon):
        if child.find("x") is not None:
            points[position] = [child.findtext("x") or "", child.findtext("y") or ""]
        elif match := re.fullmatch(r"([xy])(\d{1,6})", child.tag):
            points.setdefault(int(match[2]), ["", ""])["xy".index(match[1])] = child.text or ""
    try:
        values = [float(value) for _, point in sorted(points.items()) for value in point]
        if not all(map(math.isfinite, values)):
            raise ValueError(f"{values[:6]}")
        return values
    except ValueError as error:
        raise DataError(f"{file}: a polygon needs pairs of numbers ({error}).") from error


def _size(sheet: ElementTree.Element) -> tuple[int, int] | None:
    height, width = ((sheet.findtext(f"size/{key}") or "0").strip() for key in ("height", "width"))
    numbers = (int(height), int(width)) if height.isdecimal() and width.isdecimal() else (0, 0)
    return numbers if min(numbers) > 0 else None


def _segmented(
    path: Path, images: Mapping[str, Path], classes: Sequence[str] | None, first: int | None, unlabeled: str
) -> list[Sample]:
    folder, object_folder = _classes_folder(path), subfolder(path, "SegmentationObject")
    maps = files(folder, role="annotation") if folder else {}
    objects = files(object_folder) if object_folder else {}
    stem_of = {file: stem for stem, file in maps.items()}
    stems = paired(
        images, maps, "mask in SegmentationClass", unlabeled=unlabeled,
        content=lambda file: _values(objects.get(stem_of[file], file)),
    )  # fmt: skip
    names = _class_names(path, first, [maps[stem] for stem in stems if stem in maps])
    wanted = frozenset(chosen(classes, (name for index, name in names.items() if index > 0)))
    parts = list_parts(subfolder(subfolder(path, "ImageSets") or path, "Segmentation"))
    return [
        file_sample(
            stem, images[stem], _segments, maps.get(stem), objects.get(stem), names, wanted, part=parts.get(stem)
        )
        for stem in stems
    ]


def _values(file: Path) -> int:
    """Number of objects or classes of a map."""
    try:
        return int((np.unique(_without_void(read_voc_index(file))) > 0).sum())
    except DataError:
        return 1


def _class_names(path: Path, first: int | None, maps: Sequence[Path]) -> dict[int, str]:
    file = names_file(path)
    if file is None:
        describe("class names: the twenty classes of Pascal VOC, since there is no labels.json or class_names.txt")
        return dict(enumerate(_NAMES, 1))
    sampled = maps[:: max(1, len(maps) // _SAMPLED)][:_SAMPLED] if first is None and file.suffix != ".json" else ()
    seen = {int(value) for map_file in sampled for value in np.unique(read_voc_index(map_file))}
    names = read_names(file, first=first, seen=seen)
    return {index: name for index, name in names.items() if index > 0 and name.lower() not in NOTHING}


def _segments(
    image: Path, file: Path | None, objects: Path | None, names: Mapping[int, str], wanted: frozenset[str]
) -> Iterator[Annotation]:
    if file is None:
        return
    frame = header(image)
    index = _without_void(to_image_frame(read_voc_index(file), frame, file))
    unnamed = sorted(set(np.unique(index).tolist()) - set(names) - {0})
    if unnamed:
        raise DataError(f"{file}: the index {unnamed[0]} has no name. Add a labels.json with all names.")
    if objects is None:
        yield from of_classes(index, frame, names, wanted, file)
        return
    instance = _without_void(to_image_frame(read_voc_index(objects), frame, objects))
    yield from of_objects(index, instance, names, wanted, objects)


def _without_void(index: np.ndarray) -> np.ndarray:
    return np.where(index == _VOID, 0, index)


__all__ = ["boxed", "build", "matches"]
