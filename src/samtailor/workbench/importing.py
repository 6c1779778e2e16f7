"""Reading a data set for import: images with their objects, and the account of what is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from samtailor.data.dataset import Dataset, open_dataset
from samtailor.data.image import SUFFIXES, header
from samtailor.data.listing import walk
from samtailor.errors import DataError
from samtailor.masks.rle import to_json
from samtailor.structures import Account, Annotation, LeftOut, Sample, Tally
from samtailor.structures.account import summed

_HARMLESS = ("empty mask",)
"""Annotations left out for these reasons are no objects, so that the image is complete without them."""


@dataclass(frozen=True)
class ImportedImage:
    """An image of the data set.

    Args:
        name: id of the sample.
        source: the image file; None if the image is part of an annotation file.
        size: (height, width), pixels.
        objects: class and run lengths of each object, as JSON.
        missing: number of objects in the files that were not read.
        crowds: number of regions of many objects, which are not imported.
    """

    name: str
    source: str | None
    size: tuple[int, int]
    objects: list[dict[str, Any]]
    missing: int = 0
    crowds: int = 0


class DatasetReader:
    """Reads the images of a data set; afterwards `account` is complete.

    Args:
        path: folder of the data set.
        format: name of a layout; None detects it.
        options: options of the layout.

    Raises:
        DataError: the folder cannot be read in a layout. InputError: an unknown format or option.
    """

    def __init__(self, path: str | Path, format: str | None, options: Mapping[str, Any]) -> None:
        self.dataset: Dataset = open_dataset(path, format=format, **options)
        self._read: list[Tally] = []
        self._unreadable: list[LeftOut] = []
        self._objects = 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[ImportedImage]:
        """The images in their order. One that cannot be read is left out in `account`, and the others follow."""
        for sample in self.dataset:
            try:
                size = sample.size if sample.source is None else header(sample.source).size
                annotations, tally = sample.annotations, sample.tally
            except DataError as error:
                self._unreadable.append(LeftOut("unreadable", 1, str(error)))
                continue
            self._read.append(tally)
            self._objects += len(annotations)
            yield _image(sample, size, annotations, tally)

    def account(self) -> Account:
        """What the files contain, what is read, and what is left out with the reason and an example."""
        lost = summed([Tally(left_out=tuple(self._unreadable))]).left_out
        listed = self.dataset.record.image_tally(len(self.dataset))
        images = replace(listed, read=len(self._read), left_out=(*listed.left_out, *lost))
        broken = Tally(len(self._unreadable), 0, lost)
        annotations = [self.dataset.record.annotation_tally(0), *self._read, broken]
        return Account(
            images=summed([images, self.dataset.further_pages()]), annotations=summed(annotations),
            objects=self._objects, layout=tuple(self.dataset.record.layout),
        )  # fmt: skip

    def other_files(self) -> list[Path]:
        """Image files in the folder of the data set that are none of its images: masks, color maps, overlays."""
        root = self.dataset.path
        images = {sample.source.resolve() for sample in self.dataset if sample.source is not None}
        images |= {
            file.resolve() for file in _named(root, [one.example for one in self.dataset.record.images_left_out])
        }
        files = [file for file in walk(root) if file.suffix.lower() in SUFFIXES]
        return [file for file in files if file.resolve() not in images]


def _image(sample: Sample, size: tuple[int, int], annotations: tuple[Annotation, ...], tally: Tally) -> ImportedImage:
    kept = [annotation for annotation in annotations if not annotation.crowd]
    return ImportedImage(
        sample.id, None if sample.source is None else str(sample.source), size,
        [{"class": annotation.label, "rle": to_json(annotation.rle)} for annotation in kept],
        sum(entry.count for entry in tally.left_out if entry.kind not in _HARMLESS), len(annotations) - len(kept),
    )  # fmt: skip


def _named(root: Path, sentences: list[str]) -> list[Path]:
    """The image files below `root` that sentences name."""
    endings = "|".join(re.escape(suffix) for suffix in SUFFIXES)
    pattern = re.compile(rf"{re.escape(str(root))}[^\n]*?(?:{endings})(?![\w.])", re.IGNORECASE)
    return [Path(match) for sentence in sentences for match in pattern.findall(sentence)]


__all__ = ["DatasetReader", "ImportedImage"]
