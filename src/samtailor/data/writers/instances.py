"""Instance maps: images/, labels/NAME.png with one number per object (16 bits, 0: background), and objects.csv."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace

from samtailor.data.writers import Destination, LabelledImage
from samtailor.data.writers._index import LARGEST, painted
from samtailor.data.writing import replacing, write_png

COLUMNS = ("image", "number", "class", "score", "adapter")
"""Columns of objects.csv, which adds to each number what the maps cannot hold."""


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write the data set. Objects are numbered from 1 by falling score; the maps have 16 bits, at most 65,535 objects
    an image. Class, score and adapter of each object are in objects.csv."""
    with (
        replacing(to.folder / "objects.csv") as file,
        file.open("w", newline="", encoding="utf-8") as stream,
    ):
        rows = csv.writer(stream)
        rows.writerow(COLUMNS)
        for image in images:
            to.put(image, "images")
            for one in image.objects[LARGEST:]:
                to.report.leave_out(image.name, one.label, f"an image has at most {LARGEST:,} objects in 16 bits")
            index, visible = painted(replace(image, objects=image.objects[:LARGEST]), to)
            write_png(to.folder / "labels" / f"{image.name}.png", index.astype("uint16"))
            for number, one in visible.items():
                rows.writerow([image.name, number, one.label, f"{one.score:.6f}", one.adapter or ""])
