"""COCO: images/ and annotations/instances.json with polygons or run lengths, boxes and scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from samtailor import __version__
from samtailor.data.writers import Destination, LabelledImage
from samtailor.data.writing import write_json
from samtailor.masks.rle import to_json

POLYGONS = "parts"


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str], *, rle: bool = False) -> None:
    """Write the data set. `score` and `adapter` of annotations are extensions that COCO readers ignore.

    Args:
        to, images, classes: see `data.writers`.
        rle: write masks as compressed run lengths, exact; otherwise as polygons, within half a pixel.
    """
    ids = {label: number for number, label in enumerate(classes, 1)}
    content = skeleton([{"id": number, "name": label} for label, number in ids.items()])
    for number, image in enumerate(images, 1):
        place = to.put(image, "images")
        name = str(place) if place.is_absolute() else place.relative_to("images").as_posix()
        content["images"].append({"id": number, "file_name": name, "height": image.height, "width": image.width})
        for one in image.objects:
            shape = (
                to_json(one.rle) if rle else [part.astype(float).ravel().round(2).tolist() for part in to.parts(one)]
            )
            entry = annotation(len(content["annotations"]) + 1, number, ids[one.label], shape, one)
            content["annotations"].append(entry | {"score": round(one.score, 6), "adapter": one.adapter})
    write_json(to.folder / "annotations" / "instances.json", content, indent=None)


def skeleton(categories: Sequence[dict[str, Any]], **info: Any) -> dict[str, Any]:
    """A COCO file without images. Some versions of pycocotools (2.0.9, 2.0.10) fail without `info`."""
    about = {"description": f"samtailor {__version__}", "version": "1.0", **info}
    return {"info": about, "licenses": [], "images": [], "annotations": [], "categories": [*categories]}


def annotation(number: int, image: int, category: int, segmentation: Any, one: Any) -> dict[str, Any]:
    """A COCO annotation of a mask.

    Args:
        number, image, category: ids.
        segmentation: polygons, or run lengths as JSON.
        one: object with `box` (x0, y0, x1, y1) and `area`, see `structures.RunLengths`.
    """
    x0, y0, x1, y1 = one.box
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": one.area,
        "iscrowd": 0,
    }
