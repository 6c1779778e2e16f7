"""YOLO segmentation: images/, labels/NAME.txt with one polygon an object, data.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import yaml

from samtailor.data.writers import Destination, LabelledImage, LabelledObject
from samtailor.data.writing import replacing

POLYGONS = "whole"


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write the data set. Parts and holes of an object are joined to its one polygon; the format has no scores."""
    ids = {label: number for number, label in enumerate(classes)}
    for image in images:
        to.put(image, "images")
        lines = [_line(to, one, ids[one.label], image) for one in image.objects]
        with replacing(to.folder / "labels" / f"{image.name}.txt") as file:
            file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    sheet = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(classes))}
    with replacing(to.folder / "data.yaml") as file:
        file.write_text(yaml.safe_dump(sheet, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _line(to: Destination, one: LabelledObject, number: int, image: LabelledImage) -> str:
    shares = np.clip(to.whole(one) / np.array([image.width, image.height]), 0, 1)
    return " ".join([str(number), *(f"{value:.6f}" for value in shares.ravel())])
