"""Roboflow semantic masks: NAME.jpg + NAME_mask.png side by side and _classes.csv, in train/, valid/, test/."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from samtailor.data.color_maps import NOTHING
from samtailor.data.image import header, read_index
from samtailor.data.index_maps import of_classes, values_in
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, files, folders_in, paired, read_text
from samtailor.data.parts import part_named
from samtailor.errors import DataError
from samtailor.structures import Annotation, Sample

_LIST, _ENDING = "_classes.csv", "_mask"


def matches(path: Path) -> bool:
    """Whether there is _classes.csv with pixel values in the top folder or in a part."""
    return any(_is_list(folder / _LIST) for folder in _folders(path))


def build(path: Path, *, classes: Sequence[str] | None = None) -> Iterable[Sample]:
    """Samples of an export "Semantic Segmentation Masks" of Roboflow: one annotation per class and image.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all. "background" is no class.

    Raises:
        DataError: no _classes.csv, different lists in the parts, or no image has a mask. Reading a mask with a value
            that is not listed raises it too.
        InputError: an unknown class.
    """
    tables = {folder: _names(folder / _LIST) for folder in _folders(path) if (folder / _LIST).is_file()}
    if not tables:
        raise DataError(f"{path} has no {_LIST}, neither in the top folder nor in train/, valid/, test/.")
    known = {name: None for table in tables.values() for name in table.values() if name.lower() not in NOTHING}
    wanted = frozenset(chosen(classes, known))
    samples = []
    for folder, names in tables.items():
        part = "" if folder == path else folder.name
        every = files(folder, role="image")
        masks = {stem.removesuffix(_ENDING): file for stem, file in every.items() if stem.endswith(_ENDING)}
        images = {stem: file for stem, file in every.items() if not stem.endswith(_ENDING)}
        if not every:  # an export may have a part without images
            continue
        for stem in paired(images, masks, "mask", content=values_in):
            id = f"{part}/{stem}" if part else stem
            samples.append(
                file_sample(id, images[stem], _annotations, masks[stem], names, wanted, part=part_named(part))
            )
    if not samples:
        raise DataError(f"{path} has no images beside its {_LIST}. Images and their masks NAME_mask.png belong there.")
    return samples


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return [path, *(f for f in folders_in(path) if part_named(f.name))]


def _is_list(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return b"pixel value" in stream.read(200).lower()


def _names(file: Path) -> dict[int, str]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(read_text(file).splitlines()) if row]
    try:
        table = {int(row[0]): row[1] for row in rows[1:]}
    except (ValueError, IndexError) as error:
        raise DataError(f"{file}: every line must be `pixel value, class` ({error}).") from error
    if not table or len(table) != len(rows) - 1:
        raise DataError(f"{file}: no classes, or a pixel value is listed twice.")
    return table


def _annotations(image: Path, file: Path, names: Mapping[int, str], wanted: frozenset[str]) -> Iterator[Annotation]:
    index = read_index(file)
    nothing = [value for value, name in names.items() if name.lower() in NOTHING]
    index = index.copy()
    for value in nothing:
        index[index == value] = 0
    targets = {value: name for value, name in names.items() if value not in nothing}
    yield from of_classes(index, header(image), targets, wanted, file)


__all__ = ["build", "matches"]
