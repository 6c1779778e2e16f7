"""Instance maps: images/ + labels/NAME.png with one number per object (8 or 16 bit), 0 = background, no class names."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from samtailor.data.account import describe
from samtailor.data.class_lists import names_file
from samtailor.data.formats import color_map
from samtailor.data.image import SUFFIXES, header, read_index
from samtailor.data.index_maps import of_instances, of_objects, values_in
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, files, has_files, paired, read_text, single_class, subfolder
from samtailor.data.notices import notice
from samtailor.data.placement import to_image_frame
from samtailor.errors import DataError
from samtailor.structures import Annotation, Sample

_SAMPLED = 12  # maps that are read to distinguish objects from classes


def matches(path: Path) -> bool:
    """Whether `path` contains images/ and labels/ with image files, but neither class names nor text files."""
    return (
        subfolder(path, "images") is not None
        and names_file(path) is None
        and has_files(subfolder(path, "labels"), *SUFFIXES)
        and not has_files(subfolder(path, "labels"), ".txt")
        and not color_map.matches(path)
    )


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    images: str = "images",
    labels: str = "labels",
    sure: bool = False,
    ignore: Sequence[int] | None = None,
    unlabeled: str = "skip",
) -> Iterable[Sample]:
    """Samples of an instance data set: one annotation per number above 0 and image, by rising number.

    Args:
        path: folder of the data set.
        classes: one name for the objects; None is "object". With an objects.csv (columns image, number and class, as
            samtailor writes it): class names to read; None for all.
        images, labels: folders of the images and the maps relative to `path`.
        sure: skip the test whether the maps are class maps.
        ignore: numbers that are no objects. None is 255 in 8-bit maps, if it is not the only number of all maps and
            does not follow 254 other objects (void, as in Pascal VOC and Cityscapes).
        unlabeled: "skip" leaves out images without a map; "negative" reads them as images without objects.

    Raises:
        DataError: a folder is missing, no image has a map, or 8-bit maps look like class maps.
    """
    image_folder, map_folder = subfolder(path, images), subfolder(path, labels)
    if image_folder is None or map_folder is None:
        raise DataError(f"{path} must contain the folders {images}/ and {labels}/ for instance maps.")
    named = _named(path / "objects.csv")
    wanted: frozenset[str] = frozenset()
    if named:
        wanted = frozenset(chosen(classes, sorted({name for table in named.values() for name in table.values()})))
    label = "object" if named else single_class(classes, "object")
    image_files, maps = files(image_folder, role="image"), files(map_folder, role="annotation")
    stems = paired(image_files, maps, "instance map", unlabeled=unlabeled, content=values_in)
    used = [maps[stem] for stem in stems if stem in maps]
    if named:
        return [
            file_sample(stem, image_files[stem], _of_classes, maps.get(stem), named.get(stem, {}), wanted)
            for stem in stems
        ]
    if not sure:
        _refuse_classes(used)
    void = void_of(used) if ignore is None else tuple(ignore)
    return [file_sample(stem, image_files[stem], of_map, maps.get(stem), label, void) for stem in stems]


def of_map(image: Path, file: Path | None, label: str, void: tuple[int, ...]) -> Iterator[Annotation]:
    """Annotations of an instance map, one for each number above 0; none without a file."""
    if file is None:
        return
    index = read_index(file)
    if not (index > 0).any():
        notice("empty mask", f"{file}: the instance map is empty.")
    yield from of_instances(index, header(image), label, file, void=void)


def void_of(maps: Sequence[Path]) -> tuple[int, ...]:
    """Numbers of 8-bit instance maps that mark regions to be ignored: (255,) or none. Reads a sample of the maps."""
    seen: set[int] = set()
    for file in maps[:: max(1, len(maps) // _SAMPLED)][:_SAMPLED]:
        if header(file).mode.startswith("I"):
            return ()
        seen.update(int(value) for value in np.unique(read_index(file)))
    if 255 not in seen or 254 in seen or not seen - {0, 255}:
        return ()
    describe("instance maps: 255 marks regions to be ignored (ignore=[] reads it as an object)")
    return (255,)


def _of_classes(
    image: Path, file: Path | None, names: Mapping[int, str], wanted: frozenset[str]
) -> Iterator[Annotation]:
    """Annotations of an instance map whose numbers have classes in objects.csv; none without a file."""
    if file is not None:
        index = to_image_frame(read_index(file), header(image), file)
        yield from of_objects(index, index, names, wanted, file)


def _named(file: Path) -> dict[str, dict[int, str]]:
    """Class of each object by image and number, from objects.csv, which samtailor writes; empty without it.

    Raises:
        DataError: a row without a number or class.
    """
    rows = list(csv.DictReader(read_text(file).splitlines())) if file.is_file() else []
    if not rows or not {"image", "number", "class"} <= rows[0].keys():
        return {}  # none, or a table of another program
    named: dict[str, dict[int, str]] = {}
    for line, row in enumerate(rows, 2):
        if not str(row["number"]).isdecimal() or not row["class"]:
            raise DataError(f"{file}, line {line}: expected image, number and class, got {list(row.values())}.")
        named.setdefault(row["image"], {})[int(row["number"])] = row["class"]
    return named


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


__all__ = ["build", "matches", "of_map", "void_of"]
