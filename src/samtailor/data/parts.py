"""Names of the parts of a data set: train, val, test, as folders, lists and annotation files call them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from samtailor.data.listing import read_text
from samtailor.structures import Sample

_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
_NAME = re.compile(
    rf"^(?:stage1|images?|img|obj|instances|labels?|masks?)?[_-]?({'|'.join(_NAMES)})"
    r"(?:[_-]?(?:set|data|images?|imgs?|masks?|labels?|annotations?|\d{1,4}))*$",
    re.IGNORECASE,
)


def part_named(name: str | None) -> str | None:
    """The part that a folder or list is named after: "train2017", "valid", "img_test", "Validation"; else None."""
    match = _NAME.match(name or "")
    return _NAMES[match[1].lower()] if match else None


def part_of(root: Path, image: Path) -> str | None:
    """The part that a folder between `root` and an image is named after; None if there is none."""
    for folder in image.relative_to(root).parts[:-1] if image.is_relative_to(root) else ():
        part = part_named(folder)
        if part is not None:
            return part
    return None


def list_parts(folder: Path | None) -> dict[str, str]:
    """The part of each name that a text file called train, val or test in a folder lists, one name a line.

    A name in two lists (as in trainval.txt, which is not read) has the part of the first of train, val, test.

    Raises:
        DataError: a file cannot be read.
    """
    parts: dict[str, str] = {}
    files = sorted(folder.glob("*.txt")) if folder is not None and folder.is_dir() else []
    named = [(part_named(file.stem), file) for file in files]
    for part in ("train", "val", "test"):
        for file in (file for name, file in named if name == part):
            for line in read_text(file).splitlines():
                if line.strip():
                    parts.setdefault(line.strip(), part)
    return parts


def with_parts(samples: Sequence[Sample], root: Path) -> list[Sample]:
    """Samples with the part of their folder, if the data set has a folder of training images and another part.

    Parts that the reader of the layout assigned (from lists of the data set) stay.
    """
    if any(sample.part is not None for sample in samples):
        return list(samples)
    parts = [None if sample.source is None else part_of(root, sample.source) for sample in samples]
    if "train" not in parts or len(set(parts) - {None}) < 2:
        return list(samples)
    return [replace(sample, part=part) for sample, part in zip(samples, parts, strict=True)]


__all__ = ["list_parts", "part_named", "part_of", "with_parts"]
