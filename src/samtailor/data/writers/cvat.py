"""CVAT for images 1.1: annotations.xml with polygons, images in images/. Upload it to a task with the same images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

from samtailor.data.writers import Destination, LabelledImage
from samtailor.data.writing import replacing

POLYGONS = "parts"


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write the file. Parts of one object share a `group_id`; CVAT matches images by name."""
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
        _objects(ElementTree.SubElement(root, "image", attributes), image, to)
    ElementTree.indent(root)
    with replacing(to.folder / "annotations.xml") as file:
        ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _objects(image: ElementTree.Element, pixels: LabelledImage, to: Destination) -> None:
    for number, one in enumerate(pixels.objects, 1):
        parts = to.parts(one)
        group = {"group_id": str(number)} if len(parts) > 1 else {}
        for part in parts:
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in part)
            fixed = {"source": "auto", "occluded": "0", "z_order": "0"}
            ElementTree.SubElement(image, "polygon", {"label": one.label, "points": points, **fixed, **group})
