"""Pascal VOC: JPEGImages/ or images/ with boxes in Annotations/NAME.xml, or SegmentationClass/ (and Object/)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from samtailor.data.formats.labelmap import read_names
from samtailor.data.image import SUFFIXES, header, read_index
from samtailor.data.layout import file_sample, rle_annotation
from samtailor.data.listing import chosen, files, has_files, natural_key, paired, subfolder
from samtailor.data.placement import to_image_frame
from samtailor.errors import DataError, InputError
from samtailor.limits import parse_xml, read_bytes
from samtailor.masks.rle import from_box, from_index_map
from samtailor.structures import Annotation, Sample

_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_VOID = 255


def matches(path: Path) -> bool:
    """Whether there are images and XML files or SegmentationClass/."""
    return _images(path) is not None and (
        has_files(subfolder(path, "annotations"), ".xml") or has_files(_classes_folder(path), *SUFFIXES)
    )


def build(
    path: Path, *, classes: Sequence[str] | None = None, masks: str = "auto", one_based: bool = False
) -> Iterable[Sample]:
    """Samples of a Pascal VOC data set.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.
        masks: "boxes" uses the boxes of the XML files as rectangular masks; "segmentation" reads SegmentationClass/,
            divided into objects by SegmentationObject/ if present; "auto" is segmentation if that folder exists, else
            boxes. Class names are those of VOC, or of a labels.json.
        one_based: xmin and ymin count from 1 and xmax, ymax are inclusive (VOC devkit). By default the four numbers
            are the edges of the box.

    Raises:
        DataError: folders are missing, no image has annotations, invalid XML, or an object without name or box.
        InputError: an unknown class or option.
    """
    if masks not in ("auto", "boxes", "segmentation"):
        raise InputError(f"masks must be 'auto', 'boxes' or 'segmentation', got {masks!r}.")
    images = _images(path)
    if images is None:
        raise DataError(f"{path} has no image folder JPEGImages/ or images/.")
    image_files = files(images)
    if masks != "boxes" and has_files(_classes_folder(path), *SUFFIXES):
        return _segmented(path, image_files, classes)
    if masks == "segmentation":
        raise DataError(f"{path} has no masks in SegmentationClass/.")
    return _boxed(path, image_files, classes, one_based)


def _images(path: Path) -> Path | None:
    return subfolder(path, "JPEGImages", "images")


def _classes_folder(path: Path) -> Path | None:
    return subfolder(path, "SegmentationClass")


def _boxed(path: Path, images: Mapping[str, Path], classes: Sequence[str] | None, one_based: bool) -> list[Sample]:
    folder = subfolder(path, "annotations")
    sheets = files(folder, [".xml"]) if folder else {}
    stems = paired(images, sheets, "XML file")
    known = {name for stem in stems for name, _ in _objects(_parsed(sheets[stem]), sheets[stem])}
    wanted = frozenset(chosen(classes, sorted(known, key=natural_key)))
    return [file_sample(stem, images[stem], _boxes, sheets[stem], wanted, one_based) for stem in stems]


def _parsed(file: Path) -> ElementTree.Element:
    return parse_xml(read_bytes(file, "annotation_bytes"), str(file))


def _objects(sheet: ElementTree.Element, file: Path) -> Iterator[tuple[str, tuple[float, ...]]]:
    for entry in sheet.iter("object"):
        name = (entry.findtext("name") or "").strip()
        try:
            box = tuple(float(entry.findtext(f"bndbox/{key}") or "") for key in ("xmin", "ymin", "xmax", "ymax"))
        except ValueError as error:
            raise DataError(f"{file}: {name!r} needs a bndbox with xmin, ymin, xmax, ymax ({error}).") from error
        if not name:
            raise DataError(f"{file}: an object has no name.")
        yield name, box


def _boxes(image: Path, file: Path, wanted: frozenset[str], one_based: bool) -> Iterator[Annotation]:
    frame, sheet = header(image), _parsed(file)
    size = _size(sheet) or frame.size
    for name, (x0, y0, x1, y1) in _objects(sheet, file):
        if name in wanted:
            rle = from_box((x0 - one_based, y0 - one_based, x1, y1), size)
            yield from rle_annotation(name, rle, frame, file)


def _size(sheet: ElementTree.Element) -> tuple[int, int] | None:
    height, width = ((sheet.findtext(f"size/{key}") or "0").strip() for key in ("height", "width"))
    numbers = (int(height), int(width)) if height.isdecimal() and width.isdecimal() else (0, 0)
    return numbers if min(numbers) > 0 else None


def _segmented(path: Path, images: Mapping[str, Path], classes: Sequence[str] | None) -> list[Sample]:
    names = read_names(path / "labels.json") if (path / "labels.json").is_file() else dict(enumerate(_NAMES, 1))
    wanted = frozenset(chosen(classes, (name for index, name in names.items() if index)))
    folder, object_folder = _classes_folder(path), subfolder(path, "SegmentationObject")
    maps = files(folder) if folder else {}
    objects = files(object_folder) if object_folder else {}
    return [
        file_sample(stem, images[stem], _segments, maps[stem], objects.get(stem), names, wanted)
        for stem in paired(images, maps, "mask in SegmentationClass")
    ]


def _segments(
    image: Path, file: Path, objects: Path | None, names: Mapping[int, str], wanted: frozenset[str]
) -> Iterator[Annotation]:
    frame = header(image)
    index = _without_void(to_image_frame(read_index(file), frame, file))
    by_class = dict(from_index_map(index))
    unnamed = sorted(set(by_class) - set(names))
    if unnamed:
        raise DataError(f"{file}: the index {unnamed[0]} has no name. Add a labels.json with all names.")
    if objects is None:
        yield from (Annotation(names[value], rle) for value, rle in by_class.items() if names[value] in wanted)
        return
    instance = _without_void(to_image_frame(read_index(objects), frame, objects))
    for value, rle in from_index_map(instance):
        counts = np.bincount(index[instance == value])
        counts[0] = 0
        if counts.any() and names[int(counts.argmax())] in wanted:
            yield Annotation(names[int(counts.argmax())], rle)


def _without_void(index: np.ndarray) -> np.ndarray:
    return np.where(index == _VOID, 0, index)


__all__ = ["build", "matches"]
