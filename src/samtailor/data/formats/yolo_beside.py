"""YOLO text files beside the images: NAME.jpg + NAME.txt in one folder, or in train/, valid/, test/ (darknet)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from samtailor.data.beside import files_of, folders_with_pairs
from samtailor.data.formats.yolo import class_table, labeled
from samtailor.data.listing import read_text
from samtailor.errors import DataError
from samtailor.structures import Sample

_NAMES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt", "darknet.labels")
_INSPECTED = 20
_NOT_LABELS = ("classes", "labels", "readme", "train", "val", "valid", "test", "notes")


def matches(path: Path) -> bool:
    """Whether text files with lines of YOLO lie beside images of the same name (and it is no export of CVAT)."""
    if (path / "obj.data").is_file():
        return False
    return any(_is_yolo(sheets) for _, sheets in folders_with_pairs(path, ".txt"))


def build(path: Path, *, classes: Sequence[str] | None = None, names: str | None = None) -> Iterable[Sample]:
    """Samples of images with text files beside them. Lines are read as in the format `yolo`.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.
        names: file with class names relative to `path`, see the format `yolo`. None takes data.yaml, classes.txt,
            obj.names or _darknet.labels, from the top folder or beside the images; without a file, numbers are names.

    Raises:
        DataError: no image has a text file beside it, or the folders have different lists of names. Reading an invalid
            line or an unnamed class raises it too.
        InputError: an unknown class.
    """
    folders = [folder for folder, sheets in folders_with_pairs(path, ".txt") if _is_yolo(sheets)]
    if not folders:
        raise DataError(f"{path} has no text files of YOLO beside images of the same name.")
    images, labels = files_of(path, folders, ".txt")
    labels = {key: file for key, file in labels.items() if key in images or file.stem.lower() not in _NOT_LABELS}
    return labeled(path, images, labels, _table(path, folders, names), classes)


def _is_yolo(sheets: Sequence[Path]) -> bool:
    """Whether the first lines are numbers as in YOLO, in every file that is inspected, with one line at least."""
    numbers = 0
    for sheet in sheets[:_INSPECTED]:
        with sheet.open("rb") as stream:
            lines = stream.read(4096).splitlines()
        for line in islice(filter(None, map(bytes.split, lines[:-1] or lines)), 3):
            try:
                values = [float(word) for word in line]
            except ValueError:
                return False
            good = len(values) >= 5 and values[0] >= 0 and values[0].is_integer()
            if not good or not all(-0.5 <= value <= 1.5 for value in values[1:5]):
                return False
            numbers += 1
    return numbers > 0


def _table(path: Path, folders: Sequence[Path], given: str | None) -> dict[int, str] | None:
    table = class_table(path, given)
    if table is not None or given is not None:
        return table
    tables = {}
    for folder in folders:
        file = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
        if file is not None:
            tables[file] = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    if len(set(tables.values())) > 1:
        raise DataError(f"{', '.join(map(str, tables))} list different classes. Give one list: names=...")
    return dict(enumerate(next(iter(tables.values())))) if tables else None


__all__ = ["build", "matches"]
