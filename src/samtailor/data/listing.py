"""List the files of a data set, pair images with annotations, and check class names."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samtailor.data.image import SUFFIXES
from samtailor.data.notices import notice
from samtailor.errors import DataError, InputError
from samtailor.limits import parse_json, read_bytes


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key for natural order: "img9" before "img10"."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts)


def subfolder(root: Path, *names: str) -> Path | None:
    """First folder directly in `root` with one of the names, ignoring case; None if there is none."""
    if not root.is_dir():
        return None
    folders = {entry.name.lower(): entry for entry in sorted(root.iterdir(), reverse=True) if entry.is_dir()}
    return next((folders[name.lower()] for name in names if name.lower() in folders), None)


def files(folder: Path, suffixes: Iterable[str] = SUFFIXES) -> dict[str, Path]:
    """Files below `folder` by their relative path without suffix ("train/0001"); hidden files are skipped.

    Raises:
        DataError: two files differ only in their suffix.
    """
    wanted = frozenset(suffixes)
    by_stem: dict[str, Path] = {}
    for parent, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if name.startswith(".") or suffix.lower() not in wanted:
                continue
            relative = Path(os.path.relpath(parent, folder), stem).as_posix()
            if relative in by_stem:
                raise DataError(
                    f"{by_stem[relative]} and {name} in the same folder differ only in their suffix. "
                    "Remove or rename one of them."
                )
            by_stem[relative] = Path(parent, name)
    return by_stem


def _unreadable(error: OSError) -> None:
    """`os.walk` would skip a folder that it cannot read, and its images would be missing without a word."""
    raise DataError(f"The folder {error.filename} cannot be read ({error.strerror}). Check its permissions.")


def has_files(folder: Path | None, *suffixes: str) -> bool:
    """Whether a file with one of the suffixes exists below `folder`; stops at the first."""
    if folder is None:
        return False
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(os.path.splitext(n)[1].lower() in suffixes and not n.startswith(".") for n in names):
            return True
    return False


def paired(images: Mapping[str, Path], partners: Iterable[str], what: str) -> list[str]:
    """Stems that have both an image and a partner, in natural order; others are skipped with a notice.

    Raises:
        DataError: no image has a partner.
    """
    others = set(partners)
    both = [stem for stem in sorted(images, key=natural_key) if stem in others]
    if not both:
        raise DataError(
            f"No image has a {what} of the same name. Images: {_some(images)}. {what.capitalize()}s: "
            f"{_some(others)}. An image and its {what} must have the same file name (the suffix may differ)."
        )
    for stem in sorted(set(images) - others, key=natural_key):
        notice("image without partner", f"{images[stem]} has no {what} and is skipped.")
    for stem in sorted(others - set(images), key=natural_key):
        notice("annotation without image", f"The {what} {stem!r} has no image and is skipped.")
    return both


def chosen(classes: Sequence[str] | None, known: Iterable[str]) -> tuple[str, ...]:
    """Check requested classes against the known ones; None selects all.

    Raises:
        InputError: an unknown class; the message lists the known classes and the closest match.
    """
    names = tuple(dict.fromkeys(known))
    for name in names:
        notice("class", name, quiet=True)
    if classes is None:
        return names
    if isinstance(classes, str):
        raise InputError(f"classes must be a list of names, got the string {classes!r}. Use [{classes!r}].")
    for name in classes:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InputError(f"The data set has no class {name!r}. Classes: {', '.join(names) or 'none'}.{hint}")
    return tuple(dict.fromkeys(classes))


def single_class(classes: Sequence[str] | None, default: str) -> str:
    """Class name for a layout without class names: the requested one, or the default."""
    if classes is None:
        return default
    if isinstance(classes, str) or len(classes) != 1:
        raise InputError(
            f"This layout has a single class without a name. Give exactly one class name, got {classes!r}."
        )
    return classes[0]


def read_text(path: Path) -> str:
    """Text of a UTF-8 file without its byte order mark.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return read_bytes(path, "annotation_bytes").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}).") from error


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        DataError: the file cannot be read or is not valid JSON.
    """
    return parse_json(read_bytes(path, "annotation_bytes"), str(path))


def json_mentions(path: Path, *keys: str) -> bool:
    """Whether the first megabyte of a JSON file has a list under one of the keys; a fast test of the layout."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 20)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
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
