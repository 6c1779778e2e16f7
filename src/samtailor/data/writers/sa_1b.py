"""SA-1B: NAME.jpg and NAME.json beside it, with run lengths, box, area and score of every mask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from samtailor.data.writers import Destination, LabelledImage
from samtailor.data.writing import write_json
from samtailor.masks.rle import to_json


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write the data set. The format has no classes: they are in `label`, an extension that other readers ignore.

    `predicted_iou` is the score. `stability_score` and `point_coords`, which only the generator of SA-1B knows, are
    not written.
    """
    number = labeled = 0
    for position, image in enumerate(images, 1):
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
