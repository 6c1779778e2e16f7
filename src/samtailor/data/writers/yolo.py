"""YOLO segmentation: images/, labels/NAME.txt with one polygon per object, and data.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import yaml

from samtailor.data.writers import Destination, LabelledImage
from samtailor.data.writing import replacing

POLYGONS = "whole"


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write the data set. Parts and holes of an object are joined into one polygon; the format has no scores."""
    ids = {label: number for number, label in enumerate(classes)}
    for image in images:
        to.put(image, "images")
        rings = [(ids[one.label], to.whole(one)) for one in image.objects]
        lines = [_line(number, ring, image) for number, ring in rings if ring is not None]
        with replacing(to.folder / "labels" / f"{image.name}.txt") as file:
            file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    sheet = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(classes))}
    with replacing(to.folder / "data.yaml") as file:
        file.write_text(yaml.safe_dump(sheet, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _line(number: int, ring: np.ndarray, image: LabelledImage) -> str:
    relative = np.clip(ring / np.array([image.width, image.height]), 0, 1)
    return " ".join([str(number), *(f"{value:.6f}" for value in relative.ravel())])
