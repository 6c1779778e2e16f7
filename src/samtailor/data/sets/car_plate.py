"""Car plates (Kaggle "Car License Plate Detection", 433 images): images/ + annotations/*.xml, boxes as rectangles.

Kim et al. split 80:20 (346 / 87) without further details. Here, image ids are ordered by the SHA-256 of "{seed}:{id}";
the first round(0.8 n) are `train`, the others `test`. The set has many near-duplicates. `grouped=True` keeps them
together (`data.split`), which is sounder but differs from the paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from samtailor.data.formats import voc
from samtailor.data.shots import shuffle_key
from samtailor.data.split import split
from samtailor.errors import InputError
from samtailor.structures import Sample

TRAIN_SHARE = 0.8


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    part: str | None = None,
    seed: int = 0,
    grouped: bool = False,
) -> Iterable[Sample]:
    """Samples of the car plate set; the class is called "licence", as in its files.

    Args:
        path: folder with images/ and annotations/.
        classes: class names; None for all.
        part: "train" or "test" of the seeded split; None for all images.
        seed: random seed of the split.
        grouped: keep near-duplicates together.

    Raises:
        DataError: the layout differs.
        InputError: an unknown class or part.
    """
    samples = list(voc.build(path, classes=classes, masks="boxes"))
    if part is None:
        return samples
    if part not in ("train", "test"):
        raise InputError(f"No part is called {part!r}. Parts: train, test.")
    count = round(TRAIN_SHARE * len(samples))
    if grouped:
        return split(samples, train=None, test=len(samples) - count, seed=seed).pick(samples, part)
    shuffled = sorted(samples, key=lambda sample: shuffle_key(seed, sample.id))
    return shuffled[:count] if part == "train" else shuffled[count:]


__all__ = ["TRAIN_SHARE", "build"]
