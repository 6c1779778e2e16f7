"""Label Studio: tasks.json with pre-annotations (polygons in percent) and label_config.xml; images in images/.

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

NAMES = {"from_name": "label", "to_name": "image"}

POLYGONS = "parts"


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write tasks and configuration. Each part of an object is a separate region."""
    tasks = []
    for image in images:
        place = to.put(image, "images")
        regions = [
            _region(one, part, image, f"{number}_{index}")
            for number, one in enumerate(image.objects)
            for index, part in enumerate(to.parts(one))
        ]
        lowest = min((one.score for one in image.objects), default=0.0)  # lets Label Studio sort uncertain images first
        prediction = {"model_version": f"samtailor {__version__}", "score": round(lowest, 6), "result": regions}
        url = f"/data/local-files/?d={quote(place.as_posix().lstrip('/'))}"
        tasks.append({"data": {"image": url}, "predictions": [prediction]})
    write_json(to.folder / "tasks.json", tasks, indent=None)
    with replacing(to.folder / "label_config.xml") as file:
        ElementTree.ElementTree(_config(classes)).write(file, encoding="utf-8")


def _region(one: LabelledObject, part: np.ndarray, image: LabelledImage, name: str) -> dict[str, Any]:
    percent = part / np.array([image.width, image.height]) * 100
    points = [[round(float(x), 4), round(float(y), 4)] for x, y in percent]
    return {
        "id": name,
        **NAMES,
        "type": "polygonlabels",
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "value": {"points": points, "closed": True, "polygonlabels": [one.label]},
        "score": round(one.score, 6),
    }


def _config(classes: Sequence[str]) -> ElementTree.Element:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=NAMES["to_name"], value="$image", zoom="true")
    labels = ElementTree.SubElement(view, "PolygonLabels", name=NAMES["from_name"], toName=NAMES["to_name"])
    for label in classes:
        ElementTree.SubElement(labels, "Label", value=label)
    ElementTree.indent(view)
    return view
