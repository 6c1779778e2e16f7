"""mmsegmentation: img_dir/PART/NAME.jpg + ann_dir/PART/NAME.png with class indices; names in classes.txt if present."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from samtailor.data.account import describe
from samtailor.data.color_maps import NOTHING
from samtailor.data.formats.labelmap import read_names
from samtailor.data.image import SUFFIXES, header, read_index
from samtailor.data.index_maps import of_classes
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, files, has_files, paired, read_text, subfolder
from samtailor.data.notices import notice
from samtailor.data.parts import list_parts, part_of
from samtailor.errors import DataError, InputError
from samtailor.structures import Annotation, Sample

_VOID = 255
_FILES = ("classes.txt", "labels.txt", "labels.json", "classes.json")
_ENDINGS = (
    ("_leftImg8bit", "_gtFine_labelTrainIds"),
    ("_img", "_ann"),
    ("", "_mask"),
    ("", "_seg"),
    ("", "_labelTrainIds"),
)


def matches(path: Path) -> bool:
    """Whether there are img_dir/ and ann_dir/ with image files."""
    images, maps = subfolder(path, "img_dir"), subfolder(path, "ann_dir")
    return images is not None and maps is not None and has_files(images, *SUFFIXES) and has_files(maps, *SUFFIXES)


def build(
    path: Path, *, classes: Sequence[str] | None = None, names: str | None = None, zero: str = "auto"
) -> Iterable[Sample]:
    """Samples of a data set for mmsegmentation: one annotation per class and image; 255 is no class.

    The folders train, val and test, or lists in splits/, become the parts.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.
        names: file with class names relative to `path`: text with one name a line, by index from 0, or JSON. None takes
            classes.txt, labels.txt, classes.json or labels.json; without a file, numbers are the names.
        zero: what the index 0 is: "class", "background" (names then count from 1 if the first name is no background;
            mmsegmentation calls this reduce_zero_label), or "auto": as the first name says, background without names.

    Raises:
        DataError: folders are missing or no image has a map. Reading a map with an index without a name raises it too.
        InputError: an unknown class or option.
    """
    if zero not in ("auto", "class", "background"):
        raise InputError(f"zero must be 'auto', 'class' or 'background', got {zero!r}.")
    images, maps = subfolder(path, "img_dir"), subfolder(path, "ann_dir")
    if images is None or maps is None:
        raise DataError(f"{path} must contain img_dir/ and ann_dir/.")
    image_files, map_files = _renamed(files(images, role="image"), files(maps, role="annotation"))
    table = _table(path, names)
    if table is None:
        table = _numbers(map_files[stem] for stem in image_files.keys() & map_files.keys())
        notice("no class names", f"{path}: no classes.txt; numbers are used as names.")
        if zero == "class":
            table[0] = "0"
    elif zero == "background" and table.get(0, "").lower() not in NOTHING:
        table = {index + 1: name for index, name in table.items()}
    targets = {i: name for i, name in table.items() if name.lower() not in NOTHING}
    describe(f"{path}: the index 0 of the maps is {'the class ' + repr(targets[0]) if 0 in targets else 'background'}.")
    wanted = frozenset(chosen(classes, targets.values()))
    parts = list_parts(subfolder(path, "splits"))
    return [
        file_sample(
            stem, image_files[stem], _annotations, map_files[stem], targets, frozenset(table), wanted,
            part=parts.get(stem) or part_of(path, image_files[stem]),
        )
        for stem in paired(image_files, map_files, "map", content=lambda file: _values(file, targets))
    ]  # fmt: skip


def _renamed(images: Mapping[str, Path], maps: Mapping[str, Path]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and maps by one stem: their names may end in different ways."""
    if not images.keys() & maps.keys():
        for one, other in _ENDINGS:
            left = {stem.removesuffix(one): file for stem, file in images.items() if stem.endswith(one)}
            right = {stem.removesuffix(other): file for stem, file in maps.items() if stem.endswith(other)}
            if left.keys() & right.keys():
                return left, right
    return dict(images), dict(maps)


def _table(path: Path, given: str | None) -> dict[int, str] | None:
    if given is not None and not (path / given).is_file():
        raise InputError(f"There is no file of class names {given!r} in {path}.")
    file = path / given if given is not None else next((path / n for n in _FILES if (path / n).is_file()), None)
    if file is None:
        return None
    if file.suffix.lower() == ".json":
        return read_names(file)
    return dict(enumerate(line.strip() for line in read_text(file).splitlines() if line.strip()))


def _numbers(maps: Iterable[Path]) -> dict[int, str]:
    """Names for the values of all maps but 0 and void: their numbers."""
    values: set[int] = set()
    for file in maps:
        values |= {int(value) for value in np.unique(read_index(file))}
    return {value: str(value) for value in sorted(values - {0, _VOID})}


def _values(file: Path, targets: Mapping[int, str]) -> int:
    """Number of classes of a map; 1 if it cannot be read."""
    try:
        return len(set(np.unique(read_index(file)).tolist()) & targets.keys())
    except DataError:
        return 1


def _annotations(
    image: Path, file: Path, targets: Mapping[int, str], known: frozenset[int], wanted: frozenset[str]
) -> Iterator[Annotation]:
    index = read_index(file).astype(np.int32)
    nothing = [value for value in {*known, 0, _VOID} if value not in targets]
    index = np.where(np.isin(index, nothing), 0, index + 1)  # so that a class 0 is above 0
    names = {value + 1: name for value, name in targets.items()}
    yield from of_classes(index, header(image), names, wanted, file)


__all__ = ["build", "matches"]
