"""Pascal VOC: JPEGImages/, Annotations/NAME.xml with boxes, SegmentationClass/ and SegmentationObject/ with masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from samtailor.data.class_lists import NOTHING
from samtailor.data.voc_palette import palette
from samtailor.data.writers import Destination, LabelledImage, LabelledObject
from samtailor.data.writers._index import numbers, painted, recolored, write_palette_png
from samtailor.data.writing import replacing, write_json, write_png

RESERVED = tuple(NOTHING)
DEEP = "SegmentationClass or SegmentationObject has 16 bits (more than 254 classes, or objects in an image)"


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write boxes (edges in pixels, counted from 0) and masks.

    Masks are index maps with the palette of VOC, without a border of 255 around the objects. labels.json and
    labelmap.txt hold the names of the indices, ImageSets/ the names of the images. An object that smaller ones cover
    completely has only a box.
    """
    ids = dict(zip(classes, numbers(len(classes)), strict=True))
    names = []
    for image in images:
        names.append(image.name)
        index, visible = painted(image, to, boxes=True)
        place = dict(zip(visible, numbers(len(visible)), strict=True))
        by_class = recolored(index, [0, *(ids[one.label] for one in image.objects)])
        by_object = recolored(index, [0, *(place.get(number, 0) for number in range(1, len(image.objects) + 1))])
        for folder, values in (("SegmentationClass", by_class), ("SegmentationObject", by_object)):
            _write_map(to, folder, image.name, values)
        hidden = [one for number, one in enumerate(image.objects, 1) if number not in visible]
        sheet = _sheet(image, [*visible.values(), *hidden], to.put(image, "JPEGImages"))  # in the order of the numbers
        with replacing(to.folder / "Annotations" / f"{image.name}.xml") as file:
            ElementTree.ElementTree(sheet).write(file, encoding="utf-8", xml_declaration=True)
    _write_names(to, ids, names)


def _write_map(to: Destination, folder: str, name: str, values: np.ndarray) -> None:
    file = to.folder / folder / f"{name}.png"
    if values.dtype == np.uint8:
        write_palette_png(file, values)
    else:  # a palette has 256 colors
        write_png(file, values)
        if DEEP not in to.report.notes:
            to.report.notes.append(f"{DEEP}; some programs expect 8.")


def _write_names(to: Destination, ids: dict[str, int], names: Sequence[str]) -> None:
    write_json(to.folder / "labels.json", {"0": "background", **{str(n): label for label, n in ids.items()}})
    colors = palette()
    rows = [("background", 0), *ids.items()]
    # a colon separates the fields of labelmap.txt
    lines = [f"{label.replace(':', '_')}:{','.join(map(str, colors[number % 256]))}::" for label, number in rows]
    texts = {"labelmap.txt": ["# label:color_rgb:parts:actions", *lines]}
    texts |= {f"ImageSets/{kind}/default.txt": list(names) for kind in ("Main", "Segmentation")}
    for name, content in texts.items():
        with replacing(to.folder / name) as file:
            file.write_text("".join(f"{line}\n" for line in content), encoding="utf-8")


def _sheet(image: LabelledImage, objects: Sequence[LabelledObject], place: Path) -> ElementTree.Element:
    sheet = ElementTree.Element("annotation")
    _add(sheet, folder=str(place.parent), filename=place.name)
    _add(ElementTree.SubElement(sheet, "size"), width=image.width, height=image.height, depth=3)
    _add(sheet, segmented=1)
    for one in objects:
        entry = ElementTree.SubElement(sheet, "object")
        _add(entry, name=one.label, pose="Unspecified", truncated=0, difficult=0, score=f"{one.score:.6f}")
        x0, y0, x1, y1 = (round(v) for v in one.box)
        _add(ElementTree.SubElement(entry, "bndbox"), xmin=x0, ymin=y0, xmax=x1, ymax=y1)
    ElementTree.indent(sheet)
    return sheet


def _add(parent: ElementTree.Element, **values: object) -> None:
    for name, value in values.items():
        ElementTree.SubElement(parent, name).text = str(value)
