"""Masks: images/, masks/CLASS/NAME.png, one binary PNG (0 and 255) per class, and folders.json; objects are merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from samtailor.data.writers import Destination, LabelledImage
from samtailor.data.writers._names import class_files
from samtailor.data.writing import write_json, write_png

MERGED = "objects of one class are one mask"


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write the data set. There is no file for a class without objects in an image. An image without any object gets
    an empty mask of the first class, so that it remains in the data set. folders.json holds the class of each folder.
    """
    folders = class_files(classes)
    for image in images:
        to.put(image, "images")
        by_class: dict[str, np.ndarray] = {}
        counts = Counter(one.label for one in image.objects)
        for one in image.objects:
            by_class[one.label] = by_class.get(one.label, False) | one.mask
            if counts[one.label] > 1:
                to.report.change(image.name, one.label, MERGED)
        if not by_class and classes:
            by_class[classes[0]] = np.zeros((image.height, image.width), bool)
        for label in classes:
            file = to.folder / "masks" / folders[label] / f"{image.name}.png"
            if label in by_class:
                write_png(file, by_class[label])
            else:
                file.unlink(missing_ok=True)  # left by an earlier run
    write_json(to.folder / "folders.json", {folder: label for label, folder in folders.items()})
