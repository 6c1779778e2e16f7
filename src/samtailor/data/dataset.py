"""Open a data set in any known layout."""

from __future__ import annotations

import csv
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from samtailor import registry
from samtailor.data.listing import natural_key, read_text
from samtailor.errors import DataError, InputError
from samtailor.structures import Sample


def open_dataset(
    path: str | Path,
    *,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    group: str | None = None,
    **options: Any,
) -> list[Sample]:
    """Samples of a data set, sorted by id in natural order (2 before 10). Images and masks are read when asked for.

    Args:
        path: folder of the data set.
        format: name of a layout (`data.formats`) or of a paper's data set (`data.sets`); None finds the layout out.
        classes: names of the classes to read; None for all. Images without them stay in.
        group: what keeps images on one side of a split: "prefix:N" (first N characters of the name), "regex:PATTERN"
            (its first group, or all that it matches, in the id; an id that does not match stands alone), "folder" (the
            id's folder), "csv:FILE" (columns id and group, relative to `path`). None takes groups.csv if there.
        options: those of the layout's `build`.

    Raises:
        DataError: no such folder, no or several layouts fit, the files do not hold what the layout says.
        InputError: an unknown format, class, option or way to group.
    """
    root = Path(path)
    _refuse_missing(root)
    name = detect(root) if format is None else format
    build = _layout(name).build
    known = list(inspect.signature(build).parameters)[2:]
    for option in options:
        if option not in known:
            raise InputError(f"The format {name!r} has no option {option!r}. Options: {', '.join(known) or 'none'}.")
    samples = sorted(build(root, classes=classes, **options), key=lambda sample: natural_key(sample.id))
    _refuse_twins(samples, root)
    return _grouped(samples, root, group)


def detect(path: Path) -> str:
    """Name of the only layout that fits a folder.

    Raises:
        DataError: none or several fit; the message says what was looked for.
    """
    _refuse_missing(path)
    modules = {name: registry.find("formats", name) for name in registry.names("formats")}
    fitting = _fits(path, modules)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(f"{path} could be {' or '.join(fitting)}. Say which: format={fitting[0]!r}.")
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir()):
        for name in _fits(folder, modules):
            raise DataError(f"{path} has none of the known layouts, but {folder} is {name}. Give that folder.")
    looked = "\n".join(f"  {name}: {_first_line(module)}" for name, module in modules.items())
    sets = ", ".join(registry.names("sets"))
    raise DataError(
        f"{path} has none of the known layouts. Looked for:\n{looked}\n"
        f"Arrange the files like one of these, or name the format (data sets of papers: {sets})."
    )


def class_names(samples: Iterable[Sample]) -> list[str]:
    """Names of the classes that have a target in these samples, in natural order. Reads all annotations."""
    return sorted({a.label for sample in samples for a in sample.of(None)}, key=natural_key)


def _fits(path: Path, modules: Mapping[str, ModuleType]) -> list[str]:
    return [name for name, module in modules.items() if module.matches(path)]


def _layout(name: str) -> ModuleType:
    if name.strip().lower().replace("_", "-") in registry.names("sets"):
        return registry.find("sets", name)
    return registry.find("formats", name)


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().split("\n")[0]


def _refuse_missing(path: Path) -> None:
    if not path.is_dir():
        raise DataError(f"There is no folder {path}. A data set is a folder of images and masks.")


def _refuse_twins(samples: Sequence[Sample], root: Path) -> None:
    if not samples:
        raise DataError(f"{root} holds no image.")
    for one, other in pairwise(samples):
        if one.id == other.id:
            raise DataError(f"Two images have the id {one.id!r}: {one.source} and {other.source}. Rename one.")


def _grouped(samples: list[Sample], root: Path, rule: str | None) -> list[Sample]:
    if rule is None:
        if not (root / "groups.csv").is_file():
            return samples
        rule = "csv:groups.csv"
    kind, _, value = rule.partition(":")
    find = {"prefix": _by_prefix, "regex": _by_pattern, "folder": _by_folder, "csv": _by_table}.get(kind)
    if find is None:
        raise InputError(f"Unknown group rule {rule!r}. Known: prefix:N, regex:PATTERN, folder, csv:FILE.")
    group_of = find(value, root)
    grouped = [replace(sample, group=group_of(sample.id)) for sample in samples]
    if all(sample.group is None for sample in grouped):
        raise InputError(f"The group rule {rule!r} fits no image. First id: {samples[0].id!r}.")
    return grouped


def _by_prefix(value: str, root: Path) -> Callable[[str], str]:
    if not value.isdecimal() or int(value) < 1:
        raise InputError(f"prefix:N needs a number of characters from 1, got {value!r}.")
    return lambda id: id.rpartition("/")[2][: int(value)]


def _by_pattern(value: str, root: Path) -> Callable[[str], str | None]:
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise InputError(f"{value!r} is not a regular expression ({error}).") from error

    def group(id: str) -> str | None:
        found = pattern.search(id)
        return None if found is None else found[1] if pattern.groups else found[0]

    return group


def _by_folder(value: str, root: Path) -> Callable[[str], str]:
    return lambda id: id.rpartition("/")[0]


def _by_table(value: str, root: Path) -> Callable[[str], str]:
    file = root / (value or "groups.csv")
    rows = list(csv.DictReader(read_text(file).splitlines()))
    if not rows or not {"id", "group"} <= rows[0].keys():
        raise DataError(f"{file}: expected a table with the columns id and group in its first line.")
    table = {row["id"]: row["group"] for row in rows}

    def group(id: str) -> str:
        if id not in table:
            raise DataError(f"{file}: no group for the image {id!r}. Every image needs a line.")
        return table[id]

    return group


__all__ = ["class_names", "detect", "open_dataset"]
