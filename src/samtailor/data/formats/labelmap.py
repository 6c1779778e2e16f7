"""Class maps: images/ + labels/NAME.png + class names by index in labels.json or classes.txt ("background": none)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from samtailor.data.account import OTHER_CLASS, count, leave_out
from samtailor.data.class_lists import NOTHING, names_file, read_names
from samtailor.data.formats import color_map
from samtailor.data.image import SUFFIXES, header, read_index
from samtailor.data.index_maps import values_in
from samtailor.data.json_kinds import json_kind
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, files, has_files, paired, subfolder
from samtailor.data.placement import to_image_frame
from samtailor.errors import DataError
from samtailor.masks.rle import from_index_map
from samtailor.structures import Annotation, Sample

_SAMPLED = 12  # maps that are read to number a list of class names


def matches(path: Path) -> bool:
    """Whether `path` contains images/, labels/ with image files, and a file of class names."""
    names = names_file(path)
    return (
        names is not None
        and json_kind(names) is None
        and subfolder(path, "images") is not None
        and has_files(subfolder(path, "labels"), *SUFFIXES)
        and not has_files(subfolder(path, "labels"), ".txt")
        and not color_map.matches(path)
    )


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    names: str | None = None,
    ignore: Sequence[int] = (255,),
    first_index: int | None = None,
    unlabeled: str = "skip",
) -> Iterable[Sample]:
    """Samples of a data set of class maps: one annotation per class and image.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.
        names: file of class names relative to `path`: a list of names by index, or an object {"index": "name"} or
            {"name": index} in JSON, or one name a line. None uses labels.json, classes.json, class_names.txt,
            classes.txt or labels.txt. The names null, background, ignore, unlabeled and void mean no class.
        ignore: indices without a class, unless they have a name.
        first_index: index of the first name of a text file; None decides, see `class_lists.read_names`.
        unlabeled: "skip" leaves out images without a map; "negative" reads them as images without objects.

    Raises:
        DataError: folders or names are missing, or no image has a map. Reading a map with an unnamed index raises it
            too.
        InputError: an unknown class.
    """
    images, labels = subfolder(path, "images"), subfolder(path, "labels")
    if images is None or labels is None:
        raise DataError(f"{path} must contain the folders images/ and labels/ for class maps.")
    image_files, maps = files(images, role="image"), files(labels, role="annotation")
    stems = paired(image_files, maps, "label map", unlabeled=unlabeled, content=values_in)
    file = path / names if names is not None else names_file(path) or path / "labels.json"
    table = read_names(file, first=first_index, seen=_seen(file, first_index, [maps[s] for s in stems if s in maps]))
    targets = {index: name for index, name in table.items() if index >= 0 and name.lower() not in NOTHING}
    wanted = frozenset(chosen(classes, targets.values()))
    empty = frozenset(table) - frozenset(targets) | {0, *ignore} - frozenset(targets)
    return [
        file_sample(stem, image_files[stem], _annotations, maps.get(stem), targets, empty, wanted) for stem in stems
    ]


def _seen(file: Path, first: int | None, maps: Sequence[Path]) -> set[int]:
    """Indices of some maps, which tell whether a list of names counts from 0 or 1."""
    if first is not None or file.suffix.lower() == ".json":
        return set()
    sampled = maps[:: max(1, len(maps) // _SAMPLED)][:_SAMPLED]
    return {int(value) for map_file in sampled for value in np.unique(read_index(map_file))}


def _annotations(
    image: Path, file: Path | None, names: Mapping[int, str], empty: frozenset[int], wanted: frozenset[str]
) -> Iterator[Annotation]:
    if file is None:
        return
    index = to_image_frame(read_index(file), header(image), file)
    for value, rle in from_index_map(index):
        count()
        if value in empty:
            leave_out("index without class", f"{file}: the index {value} means no class.", quiet=True)
        elif value not in names:
            raise DataError(f"{file}: the index {value} has no name (largest: {max(names)}). Add it to the names.")
        elif names[value] in wanted:
            yield Annotation(names[value], rle)
        else:
            leave_out(OTHER_CLASS, f"{file}: the class {names[value]!r} is not requested.", quiet=True)


__all__ = ["build", "matches", "read_names"]
