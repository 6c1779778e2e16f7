"""Image files and annotation files of one stem in the same folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from samtailor.data.account import count_images, leave_out_image
from samtailor.data.image import SUFFIXES
from samtailor.data.listing import folders_in, is_utf8

_FOLDERS = 64  # folders directly below the top folder that are inspected


def folders_with_pairs(path: Path, suffix: str) -> Iterator[tuple[Path, list[Path]]]:
    """(folder, annotation files with an image beside them) of the top folder and the folders in it.

    Args:
        path: folder of the data set.
        suffix: of the annotation files, in lower case.
    """
    if not path.is_dir():
        return
    for folder in [path, *folders_in(path)[:_FOLDERS]]:
        stems: dict[str, set[str]] = {}
        for name in os.listdir(folder):
            stem, ending = os.path.splitext(name)
            if not name.startswith("."):
                stems.setdefault(ending.lower(), set()).add(stem)
        images = set().union(*(stems.get(ending, set()) for ending in SUFFIXES))
        shared = sorted(stems.get(suffix, set()) & images)
        files = [file for stem in shared for file in (folder / f"{stem}{suffix}",) if file.is_file()]
        if files:
            yield folder, files


def _leave_out(file: Path) -> None:
    shown = str(file).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    kind = "no regular file" if is_utf8(file.name) else "name not UTF-8"
    count_images()
    leave_out_image(kind, f"{shown}: {kind}, skipped.")


def files_of(path: Path, folders: list[Path], suffix: str) -> tuple[dict[str, Path], dict[str, Path]]:
    """(images, annotation files) directly in the folders, by their path relative to `path` without suffix.

    Raises:
        DataError: two images differ only in their suffix.
    """
    from samtailor.errors import DataError

    images: dict[str, Path] = {}
    others: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.iterdir()):
            if file.name.startswith("."):
                continue
            if not file.is_file() or not is_utf8(file.name):
                if file.suffix.lower() in SUFFIXES and not file.is_dir():
                    _leave_out(file)
                continue
            key = file.relative_to(path).with_suffix("").as_posix()
            if file.suffix.lower() == suffix:
                others[key] = file
            elif file.suffix.lower() in SUFFIXES:
                if key in images:
                    raise DataError(f"{images[key]} and {file.name} differ only in their suffix. Rename one of them.")
                images[key] = file
    return images, others


__all__ = ["files_of", "folders_with_pairs"]
