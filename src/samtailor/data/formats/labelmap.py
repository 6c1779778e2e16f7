"""Class maps: images/ + labels/NAME.png + labels.json (class names by index; "null" or "background" is no class)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from samtailor.data.formats import color_map
from samtailor.data.image import SUFFIXES, header, read_index
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, files, has_files, json_mentions, paired, read_json, subfolder
from samtailor.data.placement import to_image_frame
from samtailor.errors import DataError
from samtailor.masks.rle import from_index_map
from samtailor.structures import Annotation, Sample

_NOTHING = frozenset({"null", "background", "ignore", "unlabeled", "unlabelled", "void", ""})


def matches(path: Path) -> bool:
    """Whether `path` contains images/, labels/ with image files, and labels.json."""
    names = path / "labels.json"
    return (
        names.is_file()
        and not json_mentions(names, "annotations", "shapes")
        and subfolder(path, "images") is not None
        and has_files(subfolder(path, "labels"), *SUFFIXES)
        and not color_map.matches(path)
    )


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    names: str = "labels.json",
    ignore: Sequence[int] = (255,),
) -> Iterable[Sample]:
    """Samples of a data set of class maps: one annotation per class and image.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.
        names: JSON file relative to `path`: a list of names by index, or an object {"index": "name"} or
            {"name": index}. The names null, background, ignore, unlabeled and void mean no class.
        ignore: indices without a class, unless they have a name.

    Raises:
        DataError: folders or names are missing, or no image has a map. Reading a map with an unnamed index raises it
            too.
        InputError: an unknown class.
    """
    images, labels = subfolder(path, "images"), subfolder(path, "labels")
    if images is None or labels is None:
        raise DataError(f"{path} must contain the folders images/ and labels/ for class maps.")
    table = read_names(path / names)
    targets = {index: name for index, name in table.items() if name.lower() not in _NOTHING}
    wanted = frozenset(chosen(classes, targets.values()))
    known = frozenset(table) | {0, *ignore}
    image_files, maps = files(images), files(labels)
    return [
        file_sample(stem, image_files[stem], _annotations, maps[stem], targets, known, wanted)
        for stem in paired(image_files, maps, "label map")
    ]


def read_names(path: Path) -> dict[int, str]:
    """Read class names by index from labels.json.

    Raises:
        DataError: neither a list of names, nor {"index": "name"}, nor {"name": index}, or an index has two names.
    """
    value = read_json(path)
    pairs: list[tuple[Any, Any]] = list(enumerate(value)) if isinstance(value, list) else []
    if isinstance(value, dict):
        pairs = [(i, n) if str(i).isdecimal() else (n, i) for i, n in value.items()]
    good = all(str(i).isdecimal() and (n is None or isinstance(n, str)) for i, n in pairs)
    table = {int(i): n or "null" for i, n in pairs} if good else {}
    if not table or len(table) != len(pairs):
        raise DataError(
            f"{path}: expected a list of class names by index, or an object of index and name with unique indices. "
            'Example: ["null", "roof", "window"] or {"1": "roof", "2": "window"}.'
        )
    return table


def _annotations(
    image: Path, file: Path, names: Mapping[int, str], known: frozenset[int], wanted: frozenset[str]
) -> Iterator[Annotation]:
    index = to_image_frame(read_index(file), header(image), file)
    for value, rle in from_index_map(index):
        if value not in known:
            raise DataError(f"{file}: the index {value} has no name (largest: {max(names)}). Add it to labels.json.")
        if names.get(value) in wanted:
            yield Annotation(names[value], rle)


__all__ = ["build", "matches", "read_names"]
