"""What an export consists of: its parts for training and validation, and how other programs load it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from samtailor.data.image import read_image
from samtailor.data.split import split
from samtailor.data.writers import LabelledImage, writer_options
from samtailor.errors import DataError, counted
from samtailor.structures import Sample

TRAIN, VAL = "train", "val"
_LOADING = {
    "coco": 'from pycocotools.coco import COCO\nCOCO(r"{part}/annotations/instances.json")',
    "yolo": "yolo segment train data={folder}/data.yaml model=yolo11n-seg.pt",
    "labelme": "labelme {part}",
    "cvat": "In CVAT: Actions, Upload annotations, CVAT 1.1, and choose {part}/annotations.xml",
    "label-studio": "In Label Studio: Import, and choose the JSON file in {part}",
}
"""Commands or steps by format; the others are read by samtailor itself."""


def divide(images: Sequence[LabelledImage], val: float, seed: int = 0) -> tuple[set[str], list[str]]:
    """Names of the images of the part for validation, and notes about the split.

    Near-duplicates stay on one side.

    Args:
        images: all images of the export.
        val: share of the images, 0 to 1; at least one image if there are two.
        seed: random seed.
    """
    count = min(max(1, round(val * len(images))), len(images) - 1) if val > 0 else 0
    if count <= 0:
        return set(), ["There is a single image, so that nothing is left for validation."] if val > 0 else []
    samples = [Sample(i.name, partial(read_image, i.source), list, source=i.source) for i in images]
    notes = []
    try:
        parts = split(samples, val=count, test=0, seed=seed)
    except DataError:  # one group of near-duplicates
        notes.append("All images are near-duplicates: validation has copies of training images.")
        parts = split(samples, val=count, test=0, seed=seed, near_duplicates=False)
    notes.append(f"{counted(len(parts.train), 'image')} for training, {len(parts.val)} for validation.")
    return set(parts.val), [*notes, *(f"Split: {notice}" for notice in parts.notices)]


def splits_itself(format: str) -> bool:
    """Whether a format has its own division into parts, as an option `val`."""
    return "val" in writer_options(format)


def loading(format: str, folder: Path, divided: bool) -> str:
    """How another program loads an export: a command, or a sentence.

    Args:
        format: name of the writer.
        folder: folder of the export.
        divided: whether it consists of the folders train and val.
    """
    part = folder / TRAIN if divided else folder
    return _LOADING.get(format, "samtailor check {part}").format(folder=folder, part=part)


__all__ = ["TRAIN", "VAL", "divide", "loading", "splits_itself"]
