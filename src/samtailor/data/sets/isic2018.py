"""ISIC 2018 task 1 (Codella et al., arXiv 1902.03368; AM-SAM Table 3): skin lesions, as published by the challenge.

    ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg
    ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png ISIC2018_Task1-2_Validation_Input/
       ISIC2018_Task1_Validation_GroundTruth/ ISIC2018_Task1-2_Test_Input/
       ISIC2018_Task1_Test_GroundTruth/

The official parts have 2,594, 100 and 1,000 images. Some images show the same patient, but the files do not say which.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from samtailor.data.formats import folder
from samtailor.errors import DataError, InputError
from samtailor.structures import Sample

IMAGES = {"train": 2594, "val": 100, "test": 1000}
"""Number of images of the official parts."""

_NAMES = {"train": "Training", "val": "Validation", "test": "Test"}


def build(path: Path, *, classes: Sequence[str] | None = None, part: str | None = None) -> Iterable[Sample]:
    """Samples of ISIC 2018 task 1; the class is "lesion" unless `classes` has another name.

    Args:
        path: folder with the folders above.
        classes: one name for the class.
        part: official part "train", "val" or "test"; None for all that exist.

    Raises:
        DataError: folders are missing, or no image has a mask.
        InputError: an unknown part, or several classes.
    """
    if part is not None and part not in IMAGES:
        raise InputError(f"No part is called {part!r}. Parts: {', '.join(IMAGES)}.")
    present = [name for name in IMAGES if all((path / one).is_dir() for one in _folders(name))]
    wanted = present if part is None else [part]
    missing = [one for name in wanted or IMAGES for one in _folders(name) if not (path / one).is_dir()]
    if missing:
        raise DataError(f"{path} must contain {missing[0]}/ (as unpacked from the challenge).")
    return list(chain.from_iterable(_part(path, name, classes) for name in wanted))


def _folders(part: str) -> tuple[str, str]:
    return f"ISIC2018_Task1-2_{_NAMES[part]}_Input", f"ISIC2018_Task1_{_NAMES[part]}_GroundTruth"


def _part(path: Path, part: str, classes: Sequence[str] | None) -> Iterable[Sample]:
    images, masks = _folders(part)
    return folder.build(path, classes=classes or ["lesion"], images=images, masks=masks, mask_suffix="_segmentation")


__all__ = ["IMAGES", "build"]
