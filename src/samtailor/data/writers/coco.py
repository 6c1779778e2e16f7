"""COCO: images/ and annotations/instances.json with polygons, boxes and scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from samtailor.data.writers import Destination, LabelledImage
from samtailor.data.writing import write_json

POLYGONS = "parts"


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write the data set. `score` and `adapter` of annotations are extensions that COCO readers ignore."""
    ids = {label: number for number, label in enumerate(classes, 1)}
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": number, "name": label} for label, number in ids.items()]
    for number, image in enumerate(images, 1):
        place = to.put(image, "images")
        name = str(place) if place.is_absolute() else place.relative_to("images").as_posix()
        content["images"].append({"id": number, "file_name": name, "height": image.height, "width": image.width})
        for one in image.objects:
            x0, y0, x1, y1 = one.box
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number,
                    "category_id": ids[one.label],
                    "segmentation": [part.astype(float).ravel().round(2).tolist() for part in to.parts(one)],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": one.area,
                    "iscrowd": 0,
                    "score": round(one.score, 6),
                    "adapter": one.adapter,
                }
            )
    write_json(to.folder / "annotations" / "instances.json", content, indent=None)
