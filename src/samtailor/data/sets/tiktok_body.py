"""TikTok body segmentation (Kaggle, tapakah68; AM-SAM Table 1): 2,615 frames of dancing people, Images/ + Masks/.

A mask is whatever is above 0. Frames are put in the order of their numbers; the paper tests on the last 2,000 and draws
its examples from the first 615. Neighbouring frames of one video hardly differ: K of them are one example, and frames
on both sides of the border leak from one part to the other. `clip` groups neighbors, so that shots come from
different groups and intervals count a group once. The license is non-commercial; nothing of the data comes with
samtailor.
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
"""Images of the paper's test part, and in all."""


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    part: str | None = None,
    test: int | None = None,
    clip: int | None = None,
) -> Iterable[Sample]:
    """Samples of the TikTok set; the class is called "person" unless `classes` names it otherwise.

    Args:
        path: folder with Images/ and Masks/.
        classes: one name for the class.
        part: "pool" (the first ones, to draw shots from), "test" (the last ones), or None for all images.
        test: images of the test part; None: 2,000, and in a smaller copy the same share.
        clip: this many neighboring frames are one group; None: every frame counts on its own.

    Raises:
        DataError: not the layout. InputError: an unknown part, several classes, a clip below 1.
    """
    if clip is not None and clip < 1:
        raise InputError(f"clip must be the number of neighboring frames that are one group, from 1; got {clip}.")
    samples = sorted(folder.build(path, classes=classes or ["person"]), key=lambda sample: natural_key(sample.id))
    if clip is not None:
        samples = [replace(sample, group=f"clip{i // clip}") for i, sample in enumerate(samples)]
    return part_of(samples, part, test, (TEST, IMAGES))


__all__ = ["IMAGES", "TEST", "build"]
