"""Cityscapes: leftImg8bit/PART/CITY/ + gtFine/PART/CITY/ with instanceIds or labelIds (also CVAT's export of it)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from samtailor.data.account import OTHER_CLASS, count, leave_out
from samtailor.data.color_maps import NOTHING
from samtailor.data.image import SUFFIXES, header, read_index
from samtailor.data.index_maps import of_classes, values_in
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, files, has_files, paired, read_text, subfolder
from samtailor.data.parts import part_of
from samtailor.data.placement import to_image_frame
from samtailor.errors import DataError, InputError
from samtailor.masks.rle import from_index_map
from samtailor.structures import Annotation, Sample

_NAMES = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
    *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
    *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck"),
    *("bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
)
_VOID = frozenset(_NAMES[:7])  # the category void of the benchmark
_OBJECTS = range(24, 34)  # ids of classes whose regions below 1000 are groups
_PER_CLASS = 1000
_IMAGE = "_leftImg8bit"


def matches(path: Path) -> bool:
    """Whether there are leftImg8bit/ and gtFine/ or gtCoarse/, in the top folder or in imgsFine/ (CVAT)."""
    return _folders(path) is not None


def build(path: Path, *, classes: Sequence[str] | None = None, truth: str = "auto") -> Iterable[Sample]:
    """Samples of Cityscapes. With instanceIds, classes of objects have one annotation per object, others one per image.

    Regions of a class of objects without a number are crowds. The classes of the category void are left out.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.
        truth: "instanceIds", "labelIds", or "auto" for instanceIds if there are any.

    Raises:
        DataError: folders are missing or no image has a map. Reading a map with an unknown class raises it too.
        InputError: an unknown class or option.
    """
    if truth not in ("auto", "instanceIds", "labelIds"):
        raise InputError(f"truth must be 'auto', 'instanceIds' or 'labelIds', got {truth!r}.")
    folders = _folders(path)
    if folders is None:
        raise DataError(f"{path} must contain leftImg8bit/ and gtFine/.")
    images, maps = folders
    names = _names(path)
    known = {i: name for i, name in names.items() if name not in _VOID and name.lower() not in NOTHING}
    wanted = frozenset(chosen(classes, known.values()))
    image_files = {stem.removesuffix(_IMAGE): file for stem, file in files(images, role="image").items()}
    by_kind = {kind: _maps(maps, kind) for kind in ("instanceIds", "labelIds")}
    kind = truth if truth != "auto" else "instanceIds" if by_kind["instanceIds"] else "labelIds"
    return [
        file_sample(
            stem, image_files[stem], _annotations, by_kind[kind][stem], known, frozenset(names), wanted, kind,
            part=part_of(path, image_files[stem]),
        )
        for stem in paired(image_files, by_kind[kind], f"map of {kind}", content=values_in)
    ]  # fmt: skip


def _folders(path: Path) -> tuple[Path, Path] | None:
    maps = subfolder(path, "gtFine", "gtCoarse")
    images = subfolder(path, "leftImg8bit") or subfolder(path / "imgsFine", "leftImg8bit")
    ready = maps and images and has_files(images, *SUFFIXES)
    return (images, maps) if maps and images and ready else None


def _maps(folder: Path, kind: str) -> dict[str, Path]:
    """Maps by the id of their image: "train/aachen/aachen_000000_000019"."""
    maps = {}
    for stem, file in files(folder, [".png"]).items():
        for name in ("_gtFine_", "_gtCoarse_"):
            if stem.endswith(name + kind):
                maps[stem.removesuffix(name + kind)] = file
    return maps


def _names(path: Path) -> dict[int, str]:
    """Class names by id: those of Cityscapes, or of the label_colors.txt of an export (`r g b name`, by line)."""
    file = path / "label_colors.txt"
    if not file.is_file():
        return dict(enumerate(_NAMES))
    rows = [line.split(maxsplit=3) for line in read_text(file).splitlines() if line.strip() and line.strip()[0] != "#"]
    if not all(len(row) == 4 for row in rows):
        raise DataError(f"{file}: every line must be `red green blue name`.")
    return {i: row[3].strip() for i, row in enumerate(rows)}


def _annotations(
    image: Path, file: Path, known: Mapping[int, str], ids: frozenset[int], wanted: frozenset[str], kind: str
) -> Iterator[Annotation]:
    frame = header(image)
    index = to_image_frame(read_index(file), frame, file)
    if kind == "labelIds":
        void = np.isin(index, [i for i in ids if i not in known])
        yield from of_classes(np.where(void, 0, index), frame, known, wanted, file)
        return
    for value, rle in from_index_map(index):
        count()
        number = value if value < _PER_CLASS else value // _PER_CLASS
        if number not in known:
            if number not in ids and number != 65:  # 65535 is the id -1 of license plates
                raise DataError(f"{file}: the value {value} belongs to no class of {len(ids)} classes.")
            leave_out("void region", f"{file}: the value {value} marks a region of no class.", quiet=True)
        elif known[number] not in wanted:
            leave_out(OTHER_CLASS, f"{file}: the class {known[number]!r} is not requested.", quiet=True)
        else:
            yield Annotation(known[number], rle, crowd=len(ids) == len(_NAMES) and value in _OBJECTS)


__all__ = ["build", "matches"]
