"""Pascal VOC: JPEGImages/ and Annotations/NAME.xml with boxes (edges in pixels, counted from 0)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from samtailor.data.writers import Destination, LabelledImage
from samtailor.data.writing import replacing


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write boxes only: masks of the format are index maps, which cannot represent overlapping objects."""
    for image in images:
        sheet = _sheet(image, to.put(image, "JPEGImages"))
        with replacing(to.folder / "Annotations" / f"{image.name}.xml") as file:
            ElementTree.ElementTree(sheet).write(file, encoding="utf-8", xml_declaration=True)


def _sheet(image: LabelledImage, place: Path) -> ElementTree.Element:
    sheet = ElementTree.Element("annotation")
    _add(sheet, folder=str(place.parent), filename=place.name)
    _add(ElementTree.SubElement(sheet, "size"), width=image.width, height=image.height, depth=3)
    _add(sheet, segmented=0)
    for one in image.objects:
        entry = ElementTree.SubElement(sheet, "object")
        _add(entry, name=one.label, pose="Unspecified", truncated=0, difficult=0, score=f"{one.score:.6f}")
        x0, y0, x1, y1 = (round(v) for v in one.box)
        _add(ElementTree.SubElement(entry, "bndbox"), xmin=x0, ymin=y0, xmax=x1, ymax=y1)
    ElementTree.indent(sheet)
    return sheet


def _add(parent: ElementTree.Element, **values: object) -> None:
    for name, value in values.items():
        ElementTree.SubElement(parent, name).text = str(value)
