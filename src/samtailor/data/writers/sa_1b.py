"""SA-1B: NAME.jpg and NAME.json beside it, with run lengths, box, area and score of every mask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from samtailor.data.writers import Destination, LabelledImage
from samtailor.data.writing import write_json
from samtailor.masks.rle import to_json


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write the data set. The format has no classes: they are in `label`, an extension that other readers ignore.

    `predicted_iou` is the score. `stability_score` and `point_coords`, which only the generator of SA-1B knows, are
    not written. All files are in one folder, as in SA-1B: the image "trip/a" becomes "trip_a".
    """
    number = labeled = 0
    taken: set[str] = set()
    for position, given in enumerate(images, 1):
        image = replace(given, name=_flat(given.name, taken))
        if image.name != given.name:
            to.report.renamed[given.name] = image.name
        place = to.put(image, ".")
        annotations = []
        for one in image.objects:
            number, labeled = number + 1, labeled + 1
            x0, y0, x1, y1 = one.box
            annotations.append(
                {
                    "id": number,
                    "segmentation": to_json(one.rle),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": one.area,
                    "predicted_iou": round(one.score, 6),
                    "crop_box": [0.0, 0.0, float(image.width), float(image.height)],
                    "label": one.label,
                    "adapter": one.adapter,
                }
            )
        about: dict[str, Any] = {"image_id": position, "width": image.width, "height": image.height}
        about["file_name"] = str(place) if place.is_absolute() else place.name
        write_json(to.folder / f"{image.name}.json", {"image": about, "annotations": annotations}, indent=None)
    if labeled:
        to.report.notes.append("SA-1B has no classes: they are in `label` of each annotation, which others ignore.")


def _flat(name: str, taken: set[str]) -> str:
    """A name without folders that no other image has."""
    base = one = name.replace("/", "_")
    number = 1
    while one.casefold() in taken:
        number += 1
        one = f"{base}_{number}"
    taken.add(one.casefold())
    return one
