"""Toy format: photos/NAME.png, and photos/NAME.box with the box x0 y0 x1 y1 of one object."""

from __future__ import annotations

from functools import partial

import numpy as np

from samtailor.data.image import read_image
from samtailor.structures import Annotation, Sample


def matches(path) -> bool:
    return any((path / "photos").glob("*.box"))


def build(path, *, classes=None):
    label = classes[0] if classes else "thing"
    for image in sorted((path / "photos").glob("*.png")):
        yield Sample(image.stem, partial(read_image, image), partial(_annotations, image, label), source=image)


def _annotations(image, label):
    x0, y0, x1, y1 = map(int, image.with_suffix(".box").read_text().split())
    mask = np.zeros(read_image(image).shape[:2], bool)
    mask[y0:y1, x0:x1] = True
    return [Annotation.from_mask(label, mask)]
