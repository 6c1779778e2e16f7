"""labelme: images/NAME.jpg and images/NAME.json, with a polygon for each part of an object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from samtailor.data.writers import Destination, LabelledImage, LabelledObject
from samtailor.data.writing import write_json

POLYGONS = "parts"
RESERVED = ("__ignore__", "_background_")
"""Labels that labelme's converters take for regions without a class."""


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write the data set. Parts of one object share a `group_id`; scores are in the descriptions of the shapes."""
    for image in images:
        place = to.put(image, "images")
        shapes = [
            _shape(one, part, number if len(parts) > 1 else None)
            for number, one in enumerate(image.objects)
            for parts in (to.parts(one),)
            for part in parts
        ]
        sheet: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": str(place) if place.is_absolute() else place.name,
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        write_json(to.folder / "images" / f"{image.name}.json", sheet)


def _shape(one: LabelledObject, part: np.ndarray, group: int | None) -> dict[str, Any]:
    return {
        "label": one.label,
        "points": [[round(float(x), 2), round(float(y), 2)] for x, y in part],
        "group_id": group,
        "description": f"score {one.score:.3f}",
        "shape_type": "polygon",
        "flags": {},
        "mask": None,
    }
