"""TikTok body segmentation (Kaggle, tapakah68; AM-SAM Table 1): 2,615 frames of dancing people, Images/ + Masks/.

Mask values above 0 are foreground. Frames are ordered by number; the paper tests on the last 2,000 and takes its
examples from the first 615. Neighboring frames of a video are nearly identical: K of them count as one example, and
frames at the border leak from one part to the other. `clip` groups neighbors, so that shots come from different
groups and intervals count a group once. The license is non-commercial; samtailor contains no data of this set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from samtailor.data.formats import folder
from samtailor.data.listing import natural_key
from samtailor.data.sets._tail import part_of
from samtailor.errors import InputError
from samtailor.structures import Sample

TEST, IMAGES = 2000, 2615
"""Test images of the paper, and all images."""


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    part: str | None = None,
    test: int | None = None,
    clip: int | None = None,
) -> Iterable[Sample]:
    """Samples of the TikTok set; the class is "person" unless `classes` has another name.

    Args:
        path: folder with Images/ and Masks/.
        classes: one name for the class.
        part: "pool" (the first images, for shots), "test" (the last images), or None for all.
        test: number of test images; None is 2,000, or the same share of a smaller copy.
        clip: number of neighboring frames that form a group; None for no groups.

    Raises:
        DataError: the layout differs.
        InputError: an unknown part, several classes, or `clip` below 1.
    """
    if clip is not None and clip < 1:
        raise InputError(f"clip is the number of neighboring frames in a group and must be at least 1, got {clip}.")
    samples = sorted(folder.build(path, classes=classes or ["person"]), key=lambda sample: natural_key(sample.id))
    if clip is not None:
        samples = [replace(sample, group=f"clip{i // clip}") for i, sample in enumerate(samples)]
    return part_of(samples, part, test, (TEST, (IMAGES,)))


__all__ = ["IMAGES", "TEST", "build"]
