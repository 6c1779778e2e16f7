"""Instance maps: images/ + labels/NAME.png with one number per object (8 or 16 bit), 0 = background, no labels.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from samtailor.data.formats import color_map
from samtailor.data.image import SUFFIXES, header, read_index
from samtailor.data.layout import file_sample
from samtailor.data.listing import files, has_files, paired, single_class, subfolder
from samtailor.data.notices import notice
from samtailor.data.placement import to_image_frame
from samtailor.errors import DataError
from samtailor.masks.rle import from_index_map
from samtailor.structures import Annotation, Sample

_SAMPLED = 12  # maps that are read to distinguish objects from classes


def matches(path: Path) -> bool:
    """Whether `path` contains images/ and labels/ with image files, but no labels.json."""
    return (
        subfolder(path, "images") is not None
        and has_files(subfolder(path, "labels"), *SUFFIXES)
        and not (path / "labels.json").exists()
        and not color_map.matches(path)
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
        classes: one name for the objects; None is "object".
        images, labels: folders of the images and the maps relative to `path`.
        sure: skip the test whether the maps are class maps.

    Raises:
        DataError: a folder is missing, no image has a map, or 8-bit maps look like class maps.
    """
    image_folder, map_folder = subfolder(path, images), subfolder(path, labels)
    if image_folder is None or map_folder is None:
        raise DataError(f"{path} must contain the folders {images}/ and {labels}/ for instance maps.")
    label = single_class(classes, "object")
    image_files, maps = files(image_folder), files(map_folder)
    stems = paired(image_files, maps, "instance map")
    if not sure:
        _refuse_classes([maps[stem] for stem in stems])
    return [file_sample(stem, image_files[stem], _annotations, maps[stem], label) for stem in stems]


def _annotations(image: Path, file: Path, label: str) -> Iterator[Annotation]:
    index = to_image_frame(read_index(file), header(image), file)
    annotations = [Annotation(label, rle) for _, rle in from_index_map(index)]
    if not annotations:
        notice("empty mask", f"{file}: the instance map is empty.")
    yield from annotations


def _refuse_classes(maps: Sequence[Path]) -> None:
    """Refuse 8-bit maps whose values are mostly not connected: they are probably class maps without names."""
    if any(header(file).mode.startswith("I") for file in maps):
        return
    several = numbers = 0
    step = max(1, len(maps) // _SAMPLED)
    for file in maps[::step][:_SAMPLED]:
        index = read_index(file)
        for value in np.unique(index[index > 0]):
            numbers += 1
            several += cv2.connectedComponents((index == value).astype(np.uint8))[0] > 2
    if several > numbers * 0.5:
        raise DataError(
            f"{maps[0].parent}: {several} of {numbers} values cover several separate regions, so these are "
            "probably class maps, but there is no labels.json. For class maps, add labels.json (names by index). "
            "For instance maps, use the format 'instances' with the option sure=true."
        )


__all__ = ["build", "matches"]
