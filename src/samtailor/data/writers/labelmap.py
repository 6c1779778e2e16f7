"""Class maps: images/, labels/NAME.png with the index of a class per pixel, labels.json and classes.txt (0: none)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from samtailor.data.class_lists import NOTHING
from samtailor.data.writers import Destination, LabelledImage
from samtailor.data.writers._index import numbers, painted, recolored
from samtailor.data.writing import replacing, write_json, write_png

RESERVED = tuple(NOTHING)
MERGED = "objects of one class are one region"


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write the data set, with indices in the order of the classes, from 1; 255 is never an index.

    labels.json holds the names by index, classes.txt one name per line from index 0 ("background"). The maps have 8
    bits, or 16 if there are more than 254 classes.
    """
    ids = dict(zip(classes, numbers(len(classes)), strict=True))
    for image in images:
        to.put(image, "images")
        index, visible = painted(image, to)
        counts = Counter(one.label for one in visible.values())
        for one in visible.values():
            if counts[one.label] > 1:
                to.report.change(image.name, one.label, MERGED)
        values = recolored(index, [0, *(ids[one.label] for one in image.objects)])
        write_png(to.folder / "labels" / f"{image.name}.png", values)
    by_index = {0: "background"} | {number: label for label, number in ids.items()}
    write_json(to.folder / "labels.json", {str(number): label for number, label in by_index.items()})
    with replacing(to.folder / "classes.txt") as file:
        lines = [by_index.get(number, "void") for number in range(max(by_index) + 1)]
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
