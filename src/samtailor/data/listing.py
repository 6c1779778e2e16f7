"""Finding the files of a data set: folders, images, partners of the same stem, names of classes."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samtailor.data.image import SUFFIXES
from samtailor.data.notices import notice
from samtailor.errors import DataError, InputError


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts "img10" behind "img9"."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts)


def subfolder(root: Path, *names: str) -> Path | None:
    """First folder directly in `root` that has one of the names, upper and lower case being the same."""
    if not root.is_dir():
        return None
    found = {entry.name.lower(): entry for entry in sorted(root.iterdir(), reverse=True) if entry.is_dir()}
    return next((found[name.lower()] for name in names if name.lower() in found), None)


def files(folder: Path, suffixes: Iterable[str] = SUFFIXES) -> dict[str, Path]:
    """Files at any depth under `folder` by their relative path without ending ("train/0001"); hidden ones are left out.

    Raises:
        DataError: two files differ only in their ending, so that it is unclear which one is meant.
    """
    wanted, found = frozenset(suffixes), {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            stem, ending = os.path.splitext(name)
            if name.startswith(".") or ending.lower() not in wanted:
                continue
            relative = Path(os.path.relpath(parent, folder), stem).as_posix()
            if relative in found:
                raise DataError(
                    f"{found[relative]} and {name} in the same folder have the same name but for the ending: "
                    "which one is meant? Remove or rename one of them."
                )
            found[relative] = Path(parent, name)
    return found


def has_files(folder: Path | None, *suffixes: str) -> bool:
    """Whether a file with one of the endings lies at any depth under `folder`; stops at the first."""
    if folder is None:
        return False
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(os.path.splitext(n)[1].lower() in suffixes and not n.startswith(".") for n in names):
            return True
    return False


def paired(images: Mapping[str, Path], partners: Iterable[str], what: str) -> list[str]:
    """Stems that have an image and a partner, in natural order; what stands alone is left out with a notice.

    Raises:
        DataError: nothing pairs up.
    """
    others = set(partners)
    both = [stem for stem in sorted(images, key=natural_key) if stem in others]
    if not both:
        raise DataError(
            f"No image has a {what} of the same name. Images: {_some(images)}. {what.capitalize()}s: "
            f"{_some(others)}. Give an image and its {what} the same file name (the ending may differ)."
        )
    for stem in sorted(set(images) - others, key=natural_key):
        notice("image without partner", f"{images[stem]} has no {what} and is left out.")
    for stem in sorted(others - set(images), key=natural_key):
        notice("annotation without image", f"The {what} {stem!r} has no image and is left out.")
    return both


def chosen(classes: Sequence[str] | None, known: Iterable[str]) -> tuple[str, ...]:
    """Check the classes that were asked for against those there are; None means all.

    Raises:
        InputError: an unknown class; the message lists the known ones and the closest.
    """
    names = tuple(dict.fromkeys(known))
    for name in names:
        notice("class", name, quiet=True)
    if classes is None:
        return names
    if isinstance(classes, str):
        raise InputError(f"classes must be a list of names, got the text {classes!r}. Write [{classes!r}].")
    for name in classes:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InputError(f"The data set has no class {name!r}. Classes: {', '.join(names) or 'none'}.{hint}")
    return tuple(dict.fromkeys(classes))


def single_class(classes: Sequence[str] | None, default: str) -> str:
    """Class name for a layout that has no names of its own: the one that was asked for, or the default."""
    if classes is None:
        return default
    if isinstance(classes, str) or len(classes) != 1:
        raise InputError(
            f"This layout has masks of one kind of object and no class names: give one name for it, got {classes!r}."
        )
    return classes[0]


def read_text(path: Path) -> str:
    """Text of a UTF-8 file (a byte order mark is dropped); a DataError names the file that cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}).") from error


def read_json(path: Path) -> Any:
    """Content of a JSON file; a DataError names the file and the place that is wrong."""
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}).") from error


def json_mentions(path: Path, *keys: str) -> bool:
    """Whether the first megabyte of a JSON file has a list under one of the keys; a cheap test of the layout."""
    with path.open("rb") as file:
        head = file.read(1 << 20)
    return any(re.search(rb'"' + key.encode() + rb'"\s*:\s*\[', head) for key in keys)


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names, key=natural_key)
    return ", ".join(ordered[:3]) + (f", ... ({len(ordered)})" if len(ordered) > 3 else "") if ordered else "none"


__all__ = [
    "chosen",
    "files",
    "has_files",
    "json_mentions",
    "natural_key",
    "paired",
    "read_json",
    "read_text",
    "single_class",
    "subfolder",
]
