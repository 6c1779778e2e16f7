"""Class names by number, from the files that programs put beside class maps."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from samtailor.data.account import describe
from samtailor.data.listing import read_json, read_text
from samtailor.data.notices import notice
from samtailor.errors import DataError, counted

FILES = ("labels.json", "classes.json", "class_names.txt", "classes.txt", "labels.txt", "names.txt", "obj.names")
"""Files of class names, in order of preference."""
NOTHING = frozenset(
    {"null", "background", "_background_", "ignore", "__ignore__", "unlabeled", "unlabelled", "void", "none", ""}
)
"""Names that mean no class, in lower case."""
MAX_LINES = 65_536
"""Largest number of lines of a list of names; a map has at most so many values."""


def names_file(folder: Path) -> Path | None:
    """The file of class names in a folder; None if there is none."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def read_names(path: Path, *, first: int | None = None, seen: Collection[int] = ()) -> dict[int, str]:
    """Class names by number.

    JSON: a list of names by number, {"number": "name"} or {"name": number}. Text: one name a line; numbers in front
    of all names ("1 road", "1: road") are used.

    Args:
        path: the file.
        first: number of the first name of a list without numbers. None decides: -1 for a list that starts with
            "__ignore__" (labelme), 0 for JSON and for a list with a background as its first name; otherwise 1 if `seen`
            contains the number of names or lacks evidence, since 0 is the background of a map.
        seen: numbers that occur in maps.

    Raises:
        DataError: not such a file, or two names for one number.
    """
    if path.suffix.lower() == ".json":
        return _from_json(path)
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    if not lines or len(lines) > MAX_LINES:
        raise DataError(f"{path}: expected one class name a line, got {counted(len(lines), 'line')}.")
    numbered = [_numbered(line) for line in lines]
    if all(entry is not None for entry in numbered):
        table = dict(entry for entry in numbered if entry is not None)
        if len(table) == len(lines):
            return table
    if first is None:
        first = _first(lines, path, seen)
    return {first + position: name for position, name in enumerate(lines)}


def _first(lines: list[str], path: Path, seen: Collection[int]) -> int:
    if lines[0].lower() == "__ignore__":
        return -1
    if lines[0].lower() in NOTHING:
        return 0
    top = max((value for value in seen if value != 255), default=0)
    if top >= len(lines):
        describe(f"class names: {path.name}, counted from 1 (the largest number in the maps is {top})")
        return 1
    message = f"{path}: the first name is no background, so names are counted from 1 (first_index=0 counts from 0)"
    describe(f"class names: {message}")
    notice("class numbers", f"{message}.")
    return 1


def _numbered(line: str) -> tuple[int, str] | None:
    """ "3 road" or "3: road" as (3, "road")."""
    number, _, name = line.replace(":", " ", 1).replace("\t", " ").partition(" ")
    return (int(number), name.strip()) if number.isdecimal() and name.strip() else None


def _from_json(path: Path) -> dict[int, str]:
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


__all__ = ["FILES", "MAX_LINES", "NOTHING", "names_file", "read_names"]
