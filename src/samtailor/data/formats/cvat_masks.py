"""CVAT segmentation mask 1.1: SegmentationClass/ (and Object/) as color PNGs, labelmap.txt, JPEGImages/, ImageSets/."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from samtailor.data.color_maps import NOTHING, by_color, read_palette
from samtailor.data.image import SUFFIXES, header, read_colors
from samtailor.data.index_maps import colors_in, of_classes, of_objects
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, files, has_files, paired, subfolder
from samtailor.data.parts import list_parts
from samtailor.data.placement import to_image_frame
from samtailor.errors import DataError
from samtailor.structures import Annotation, Sample


def matches(path: Path) -> bool:
    """Whether there is labelmap.txt with colors beside SegmentationClass/, and no labels.json, which names indices."""
    if (path / "labels.json").is_file():
        return False
    if not (path / "labelmap.txt").is_file() or not has_files(subfolder(path, "SegmentationClass"), *SUFFIXES):
        return False
    try:
        return bool(read_palette(path / "labelmap.txt"))
    except DataError:
        return False


def build(path: Path, *, classes: Sequence[str] | None = None) -> Iterable[Sample]:
    """Samples of an export "Segmentation mask 1.1" (or "PASCAL VOC 1.1" with masks) of CVAT.

    Objects are those of SegmentationObject/, if present. The lists in ImageSets/Segmentation/ named train, val or test
    become the parts of the data set.

    Args:
        path: folder of the data set.
        classes: labels to read; None for all. "background" is no class.

    Raises:
        DataError: labelmap.txt, masks or images are missing, or no image has a mask. Reading a mask with a color that
            labelmap.txt does not list raises it too.
        InputError: an unknown class.
    """
    folder = subfolder(path, "SegmentationClass")
    if not (path / "labelmap.txt").is_file() or folder is None:
        raise DataError(f"{path} must contain labelmap.txt and SegmentationClass/.")
    names = read_palette(path / "labelmap.txt")
    wanted = frozenset(chosen(classes, dict.fromkeys(n for n in names.values() if n.lower() not in NOTHING)))
    image_folder = subfolder(path, "JPEGImages", "images")
    if image_folder is None or not has_files(image_folder, *SUFFIXES):
        raise DataError(f"{path} has no images in JPEGImages/. Export the task with images, or copy them there.")
    objects = subfolder(path, "SegmentationObject")
    image_files, maps = files(image_folder, role="image"), files(folder, role="annotation")
    object_maps = files(objects) if objects else {}
    stems = {file: stem for stem, file in maps.items()}

    def content(file: Path) -> int:
        return colors_in(object_maps.get(stems[file], file))

    parts = list_parts(subfolder(path / "ImageSets", "Segmentation", "Main"))
    return [
        file_sample(
            stem, image_files[stem], _annotations, maps[stem], object_maps.get(stem), names, wanted,
            part=parts.get(stem),
        )
        for stem in paired(image_files, maps, "mask in SegmentationClass", content=content)
    ]  # fmt: skip


def _annotations(
    image: Path, file: Path, objects: Path | None, names: Mapping[int, str], wanted: frozenset[str]
) -> Iterator[Annotation]:
    frame = header(image)
    index, labels = by_color(read_colors(file), names, file)
    if objects is None:
        yield from of_classes(index, frame, labels, wanted, file)
        return
    colors = to_image_frame(read_colors(objects), frame, objects)
    numbers = np.unique(colors, return_inverse=True)[1].reshape(colors.shape).astype(np.int64) + 1
    numbers[colors == 0] = 0
    yield from of_objects(to_image_frame(index, frame, file), numbers, labels, wanted, objects)


__all__ = ["build", "matches"]
