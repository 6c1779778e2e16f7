"""Label Studio: tasks.json with pre-annotations (polygons or brush) and label_config.xml; images in images/.

Serve the folder to Label Studio as local files with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and
LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=<this folder>, and import tasks.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np

from samtailor import __version__
from samtailor.data.writers import Destination, LabelledImage, LabelledObject
from samtailor.data.writing import replacing, write_json
from samtailor.masks import brush

NAMES = {"from_name": "label", "to_name": "image"}

POLYGONS = "parts"
READ_WITH = {"predictions": "true"}


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str], *, rle: bool = False) -> None:
    """Write tasks and configuration.

    Args:
        to, images, classes: see `data.writers`.
        rle: write brush regions, exact and one for each object, in Label Studio's own run lengths; otherwise polygons
            within half a pixel, a separate region for each part of an object.
    """
    tasks, kind = [], "brushlabels" if rle else "polygonlabels"
    for image in images:
        place = to.put(image, "images")
        regions = [
            _region(one, kind, value, image, f"{number}_{index}")
            for number, one in enumerate(image.objects)
            for index, value in enumerate(_values(one, kind, image, to))
        ]
        lowest = min((one.score for one in image.objects), default=0.0)  # lets Label Studio sort uncertain images first
        prediction = {"model_version": f"samtailor {__version__}", "score": round(lowest, 6), "result": regions}
        url = f"/data/local-files/?d={quote(place.as_posix().lstrip('/'))}"
        tasks.append({"data": {"image": url}, "predictions": [prediction]})
    write_json(to.folder / "tasks.json", tasks, indent=None)
    with replacing(to.folder / "label_config.xml") as file:
        ElementTree.ElementTree(_config(classes, rle)).write(file, encoding="utf-8")


def _values(one: LabelledObject, kind: str, image: LabelledImage, to: Destination) -> list[dict[str, Any]]:
    """The values of the regions of an object, without its class."""
    if kind == "brushlabels":
        return [{"format": "rle", "rle": brush.encode(one.mask)}]
    percent = [part / np.array([image.width, image.height]) * 100 for part in to.parts(one)]
    if len(percent) > 1:
        to.report.change(image.name, one.label, "separate parts are separate regions (one region with --rle)")
    points = [[[round(float(x), 4), round(float(y), 4)] for x, y in part] for part in percent]
    return [{"points": part, "closed": True} for part in points]


def _region(one: LabelledObject, kind: str, value: dict[str, Any], image: LabelledImage, name: str) -> dict[str, Any]:
    return {
        "id": name,
        **NAMES,
        "type": kind,
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "value": {**value, kind: [one.label]},
        "score": round(one.score, 6),
    }


def _config(classes: Sequence[str], rle: bool) -> ElementTree.Element:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=NAMES["to_name"], value="$image", zoom="true")
    control = "BrushLabels" if rle else "PolygonLabels"
    labels = ElementTree.SubElement(view, control, name=NAMES["from_name"], toName=NAMES["to_name"])
    for label in classes:
        ElementTree.SubElement(labels, "Label", value=label)
    ElementTree.indent(view)
    return view
