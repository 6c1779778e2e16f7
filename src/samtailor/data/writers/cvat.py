"""CVAT for images 1.1: annotations.xml with polygons or masks, images in images/. For a task with the same images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

from samtailor.data.writers import Destination, LabelledImage, LabelledObject
from samtailor.data.writing import replacing
from samtailor.masks.box_runs import pack

POLYGONS = "parts"
FIXED = {"source": "auto", "occluded": "0", "z_order": "0"}


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str], *, rle: bool = False) -> None:
    """Write the file. CVAT matches images by name.

    Args:
        to, images, classes: see `data.writers`.
        rle: write `<mask>` elements, exact and one for each object; otherwise polygons within half a pixel, where the
            parts of one object share a `group_id`.
    """
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels")
    for label in classes:
        entry = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(entry, "name").text = label
        ElementTree.SubElement(entry, "attributes")
    for number, image in enumerate(images):
        place = to.put(image, "images")
        name = place.name if place.is_absolute() else place.relative_to("images").as_posix()
        attributes = {"id": str(number), "name": name, "width": str(image.width), "height": str(image.height)}
        entry = ElementTree.SubElement(root, "image", attributes)
        for place_in_image, one in enumerate(image.objects, 1):
            if rle:
                _mask(entry, one)
            else:
                _polygons(entry, place_in_image, one, image.name, to)
    ElementTree.indent(root)
    with replacing(to.folder / "annotations.xml") as file:
        ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _mask(image: ElementTree.Element, one: LabelledObject) -> None:
    runs, (left, top, width, height) = pack(one.mask)
    box = {"left": str(left), "top": str(top), "width": str(width), "height": str(height)}
    shape = {"label": one.label, "source": FIXED["source"], "occluded": FIXED["occluded"]}
    attributes = {**shape, "rle": ", ".join(map(str, runs)), **box, "z_order": FIXED["z_order"]}
    ElementTree.SubElement(image, "mask", attributes)


def _polygons(image: ElementTree.Element, number: int, one: LabelledObject, name: str, to: Destination) -> None:
    parts = to.parts(one)
    group = {"group_id": str(number)} if len(parts) > 1 else {}
    if group:
        to.report.change(name, one.label, "separate parts are several polygons of one group (one mask with --rle)")
    for part in parts:
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in part)
        ElementTree.SubElement(image, "polygon", {"label": one.label, "points": points, **FIXED, **group})
