"""Human segmentation (github.com/VikramShenoy97/Human-Segmentation-Dataset; AM-SAM Table 2): people in photos.

    Training_Images/ID.jpg
    Ground_Truth/ID.png     0 / 255

The page and the paper mention 300 images; the repository has 290 pairs, ids 1 to 289 and 300. Most masks (198) are
smaller than their photo, with the same aspect ratio, and are resized (nearest neighbor) with a notice. The paper tests
on 100 images without saying which. Here they are the last 100 by number (191 to 289, and 300), which share only 21
images with the last 100 in alphabetical order. The set has no license; samtailor contains no data of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from samtailor.data.formats import folder
from samtailor.data.listing import natural_key, subfolder
from samtailor.data.sets._tail import part_of
from samtailor.errors import DataError
from samtailor.structures import Sample

TEST, IMAGES, ORIGINAL = 100, 290, 300
"""Test images, images of the repository, and images of the original set; the last 100 of either are the test part."""

_IMAGES, _MASKS = ("Training_Images", "images"), ("Ground_Truth", "masks")


def build(
    path: Path, *, classes: Sequence[str] | None = None, part: str | None = None, test: int | None = None
) -> Iterable[Sample]:
    """Samples of the human segmentation set; the class is "person" unless `classes` has another name.

    Args:
        path: folder with Training_Images/ and Ground_Truth/ (or images/ and masks/).
        classes: one name for the class.
        part: "pool" (the first images, for shots), "test" (the last images), or None for all.
        test: number of test images; None is 100 of 290 or 300 images, or the same share of another number.

    Raises:
        DataError: the layout differs.
        InputError: an unknown part, or several classes.
    """
    images, masks = subfolder(path, *_IMAGES), subfolder(path, *_MASKS)
    if images is None or masks is None:
        raise DataError(f"{path} must contain {_IMAGES[0]}/ and {_MASKS[0]}/ (or {_IMAGES[1]}/ and {_MASKS[1]}/).")
    samples = folder.build(path, classes=classes or ["person"], images=images.name, masks=masks.name)
    return part_of(sorted(samples, key=lambda sample: natural_key(sample.id)), part, test, (TEST, (IMAGES, ORIGINAL)))


__all__ = ["IMAGES", "ORIGINAL", "TEST", "build"]
