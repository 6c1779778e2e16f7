"""Human segmentation (github.com/VikramShenoy97/Human-Segmentation-Dataset; AM-SAM Table 2): people in photos.

    Training_Images/ID.jpg
    Ground_Truth/ID.png     0 / 255

Its page and the paper say 300 images; the repository holds 290 pairs, ids 1 to 289 and 300. Most masks (198) are
smaller than their photo with the same aspect and are resized (nearest) with a notice. The paper tests on 100 and does
not say which; here they are the last 100 by number (191 to 289, and 300), not by the alphabet, whose last 100 share
only 21 images with them. The set states no license; nothing of it comes with samtailor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from samtailor.data.formats import folder
from samtailor.data.listing import natural_key, subfolder
from samtailor.data.sets._tail import part_of
from samtailor.errors import DataError
from samtailor.structures import Sample

TEST, IMAGES = 100, 290
"""Images of the test part, and in all."""

_IMAGES, _MASKS = ("Training_Images", "images"), ("Ground_Truth", "masks")


def build(
    path: Path, *, classes: Sequence[str] | None = None, part: str | None = None, test: int | None = None
) -> Iterable[Sample]:
    """Samples of the human segmentation set; the class is called "person" unless `classes` names it otherwise.

    Args:
        path: folder with Training_Images/ and Ground_Truth/ (or images/ and masks/).
        classes: one name for the class.
        part: "pool" (the first ones, to draw shots from), "test" (the last ones), or None for all images.
        test: images of the test part; None: 100, and in a smaller copy the same share.

    Raises:
        DataError: not the layout. InputError: an unknown part, several classes.
    """
    images, masks = subfolder(path, *_IMAGES), subfolder(path, *_MASKS)
    if images is None or masks is None:
        raise DataError(f"{path} must hold {_IMAGES[0]}/ and {_MASKS[0]}/ (or {_IMAGES[1]}/ and {_MASKS[1]}/).")
    found = folder.build(path, classes=classes or ["person"], images=images.name, masks=masks.name)
    return part_of(sorted(found, key=lambda sample: natural_key(sample.id)), part, test, (TEST, IMAGES))


__all__ = ["IMAGES", "TEST", "build"]
