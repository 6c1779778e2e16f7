"""Instance maps: images/ + labels/NAME.png with one number per object (8 or 16 bit), 0 = background, no labels.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from samtailor.data.image import SUFFIXES, header, read_index
from samtailor.data.layout import file_sample
from samtailor.data.listing import files, has_files, paired, single_class, subfolder
from samtailor.data.notices import notice
from samtailor.data.placement import fitted
from samtailor.errors import DataError
from samtailor.masks.rle import from_index_map
from samtailor.structures import Annotation, Sample

_LOOK_AT = 12  # maps looked into to tell objects from classes


def matches(path: Path) -> bool:
    """Whether `path` holds images/ and labels/ with images, and no labels.json."""
    return (
        subfolder(path, "images") is not None
        and has_files(subfolder(path, "labels"), *SUFFIXES)
        and not (path / "labels.json").exists()
    )


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    images: str = "images",
    labels: str = "labels",
    sure: bool = False,
) -> Iterable[Sample]:
    """Samples of an instance data set: one annotation per number above 0 and image, by rising number.

    Args:
        path: folder of the data set.
        classes: one name for the objects; "object" when left out.
        images, labels: folders of the images and the maps relative to `path`.
        sure: do not look whether the maps are class maps in truth.

    Raises:
        DataError: missing folders, nothing pairs up; 8-bit maps whose numbers lie scattered like classes do.
    """
    image_folder, map_folder = subfolder(path, images), subfolder(path, labels)
    if image_folder is None or map_folder is None:
        raise DataError(f"{path} must hold the folders {images}/ and {labels}/ for instance maps.")
    label = single_class(classes, "object")
    image_files, maps = files(image_folder), files(map_folder)
    stems = paired(image_files, maps, "instance map")
    if not sure:
        _refuse_classes([maps[stem] for stem in stems])
    return [file_sample(stem, image_files[stem], _annotations, maps[stem], label) for stem in stems]


def _annotations(image: Path, file: Path, label: str) -> Iterator[Annotation]:
    index = fitted(read_index(file), header(image), file)
    found = [Annotation(label, rle) for _, rle in from_index_map(index)]
    if not found:
        notice("empty mask", f"{file}: no object in this image.")
    yield from found


def _refuse_classes(maps: Sequence[Path]) -> None:
    """An object is in one piece as a rule, a class is not: the sign that 8-bit maps hold classes without names."""
    if any(header(file).mode.startswith("I") for file in maps):
        return
    several = numbers = 0
    step = max(1, len(maps) // _LOOK_AT)
    for file in maps[::step][:_LOOK_AT]:
        index = read_index(file)
        for value in np.unique(index[index > 0]):
            numbers += 1
            several += cv2.connectedComponents((index == value).astype(np.uint8))[0] > 2
    if several > numbers * 0.5:
        raise DataError(
            f"{maps[0].parent}: {several} of {numbers} numbers looked at lie in several pieces, as classes do and "
            "objects do not, and no labels.json names the classes. For class maps add labels.json (a list of names "
            "by index); for instance maps give format 'instances' and the option sure=true."
        )


__all__ = ["build", "matches"]
