"""Masks: images/ and masks/CLASS/NAME.png, one binary PNG (0 and 255) per class; objects of a class are merged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from samtailor.data.writers import Destination, LabelledImage
from samtailor.data.writing import write_png


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str]) -> None:
    """Write the data set. There is no file for a class without objects in an image. An image without any object gets
    an empty mask of the first class, so that it remains in the data set."""
    for image in images:
        to.put(image, "images")
        by_class: dict[str, np.ndarray] = {}
        for one in image.objects:
            by_class[one.label] = by_class.get(one.label, False) | one.mask
        if not by_class and classes:
            by_class[classes[0]] = np.zeros((image.height, image.width), bool)
        for label in classes:
            file = to.folder / "masks" / label.replace("/", "_") / f"{image.name}.png"
            if label in by_class:
                write_png(file, by_class[label])
            else:
                file.unlink(missing_ok=True)  # left by an earlier run
