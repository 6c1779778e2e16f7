"""List the files of a data set, pair images with annotations, and check class names."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from samtailor.data.account import count, count_images, leave_out, leave_out_image
from samtailor.data.image import SUFFIXES
from samtailor.data.notices import notice
from samtailor.data.text_files import json_mentions, read_json, read_text
from samtailor.errors import DataError, InputError


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key for natural order: "img9" before "img10"."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts)


def plain(text: str) -> str:
    """A file name in one spelling: composed letters (NFC, macOS decomposes them), "/" as the separator."""
    return unicodedata.normalize("NFC", text).replace("\\", "/")


def folders_in(root: Path) -> list[Path]:
    """Folders directly in `root`, sorted; hidden ones are skipped. Empty if `root` is no folder.

    Files are not examined one by one, so that a folder of a million images is quick.
    """
    try:
        with os.scandir(root) as entries:
            return sorted(root / e.name for e in entries if not e.name.startswith(".") and e.is_dir())
    except OSError:
        return []


def subfolder(root: Path, *names: str) -> Path | None:
    """First folder directly in `root` with one of the names, ignoring case; None if there is none."""
    folders = {plain(folder.name).lower(): folder for folder in reversed(folders_in(root))}
    return next((folders[name.lower()] for name in names if name.lower() in folders), None)


Skipped = Callable[[str, str, str], None]


def walk(folder: Path, skipped: Skipped | None = None) -> Iterator[Path]:
    """Regular files below `folder`, sorted within each folder. Hidden files and folders are skipped.

    Links to files and folders are followed, and every folder is entered once, so that links cannot make a circle.

    Args:
        folder: the folder.
        skipped: called with the suffix of a file, a kind and a sentence, if the file is not regular (a named pipe, a
            socket, a link to nothing) or its name is not UTF-8. None: such files are skipped without a notice.

    Raises:
        DataError: a folder cannot be listed.
    """
    yield from _walk(folder, set(), skipped)


def _walk(folder: Path, entered: set[tuple[int, int]], skipped: Skipped | None) -> Iterator[Path]:
    try:
        state = folder.stat()
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be listed ({error.strerror}). Check its permissions.") from error
    here = (state.st_dev, state.st_ino)
    if here in entered:
        if skipped is not None:
            notice("folder linked twice", f"{folder} is a link to a folder that is listed already, and is skipped.")
        return
    entered.add(here)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        suffix = os.path.splitext(entry.name)[1].lower()
        if not is_utf8(entry.name):
            if skipped is not None:
                for name in _inside(folder / entry.name):
                    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                    advice = "the name is not UTF-8, so it is skipped. Rename it, for example with convmv."
                    skipped(os.path.splitext(name)[1].lower(), "name not UTF-8", f"{shown}: {advice}")
        elif entry.is_dir():
            yield from _walk(folder / entry.name, entered, skipped)
        elif entry.is_file():
            yield folder / entry.name
        elif skipped is not None:
            broken = entry.is_symlink() and not os.path.exists(entry.path)
            what = "a link to nothing" if broken else "not a regular file (a pipe, a socket or a device)"
            skipped(suffix, "no regular file", f"{folder / entry.name} is {what} and is skipped.")


def _inside(path: Path) -> Iterator[str]:
    """A file, or the files below a folder."""
    if not path.is_dir():
        yield str(path)
    for parent, _, names in os.walk(path):
        yield from (os.path.join(parent, name) for name in names)


def is_utf8(name: str) -> bool:
    """Whether a file name is valid UTF-8 on disk."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def files(folder: Path, suffixes: Iterable[str] = SUFFIXES, *, role: str | None = None) -> dict[str, Path]:
    """Files below `folder` by their relative path without suffix ("train/0001"); hidden files are skipped.

    The keys are in one spelling (`plain`), whatever the spelling of the file names.

    Args:
        folder: the folder.
        suffixes: suffixes of the files, in lower case.
        role: what files that are skipped (see `walk`) count as in `data.account`: "image", "annotation", or None for
            a notice only.

    Raises:
        DataError: two files differ only in their suffix, or in the spelling of their name.
    """
    by_stem = files_by_stem(folder, suffixes, role=role)
    for same in by_stem.values():
        if len(same) > 1:
            raise DataError(
                f"{same[0]} and {same[1].name} in the same folder differ only in their suffix. "
                "Remove or rename one of them."
            )
    return {stem: same[0] for stem, same in by_stem.items()}


def files_by_stem(
    folder: Path, suffixes: Iterable[str] = SUFFIXES, *, role: str | None = None
) -> dict[str, list[Path]]:
    """As `files`, but with all files of a stem."""
    wanted, by_stem = frozenset(suffixes), dict[str, list[Path]]()

    def skipped(suffix: str, kind: str, message: str) -> None:
        if suffix in wanted and role == "image":
            count_images()
            leave_out_image(kind, message)
        elif suffix in wanted and role == "annotation":
            count()
            leave_out(kind, message)
        elif suffix in wanted:
            notice(kind, message)

    for file in walk(folder, skipped):
        if file.suffix.lower() not in wanted:
            continue
        relative = plain(Path(os.path.relpath(file, folder)).with_suffix("").as_posix())
        by_stem.setdefault(relative, []).append(file)
    return by_stem


def _unreadable(error: OSError) -> None:
    """`os.walk` would skip a folder that it cannot read, and its images would be missing without a word."""
    raise DataError(f"The folder {error.filename} cannot be read ({error.strerror}). Check its permissions.")


def has_files(folder: Path | None, *suffixes: str) -> bool:
    """Whether a file with one of the suffixes exists below `folder`; stops at the first."""
    return folder is not None and any(file.suffix.lower() in suffixes for file in walk(folder))


UNLABELED = ("skip", "negative")
"""Values of the option `unlabeled`: what an image without an annotation file is."""


def paired(
    images: Mapping[str, Path],
    partners: Mapping[str, Any] | Iterable[str],
    what: str,
    *,
    unlabeled: str = "skip",
    content: Callable[[Any], int] | None = None,
) -> list[str]:
    """Stems of the images that are read, in natural order. Images and partners are counted, see `data.account`.

    Args:
        images: image files by stem.
        partners: annotation files by the stem of their image.
        what: what a partner is, for messages ("mask").
        unlabeled: whether an image without a partner is left out ("skip") or is an image without objects ("negative").
        content: number of annotations in a partner file; None counts one. Used for partners without an image.

    Raises:
        DataError: no image has a partner.
        InputError: another value of `unlabeled`.
    """
    if unlabeled not in UNLABELED:
        raise InputError(f"unlabeled must be {' or '.join(map(repr, UNLABELED))}, got {unlabeled!r}.")
    others = set(partners)
    both = [stem for stem in sorted(images, key=natural_key) if stem in others]
    if not both:
        raise DataError(
            f"No image has a {what} of the same name. Images: {_some(images)}. {what.capitalize()}s: "
            f"{_some(others)}. An image and its {what} must have the same file name (the suffix may differ)."
        )
    count_images(len(images))
    alone = sorted(set(images) - others, key=natural_key)
    for stem in alone:
        if unlabeled == "negative":
            notice("negative", f"{images[stem]} has no {what} and counts as an image without objects.")
        else:
            keep = "the option unlabeled=negative reads such images as images without objects"
            leave_out_image("image without partner", f"{images[stem]} has no {what} and is skipped ({keep}).")
    for stem in sorted(others - set(images), key=natural_key):
        number = content(partners[stem]) if content is not None and isinstance(partners, Mapping) else 1
        count(number)
        leave_out("annotation without image", f"The {what} {stem!r} has no image and is skipped.", number)
    return sorted([*both, *alone], key=natural_key) if unlabeled == "negative" else both


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


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names, key=natural_key)
    return ", ".join(ordered[:3]) + (f", ... ({len(ordered)})" if len(ordered) > 3 else "") if ordered else "none"


__all__ = [
    "UNLABELED",
    "chosen",
    "files",
    "files_by_stem",
    "folders_in",
    "has_files",
    "is_utf8",
    "json_mentions",
    "natural_key",
    "paired",
    "plain",
    "read_json",
    "read_text",
    "single_class",
    "subfolder",
    "walk",
]
