"""Recognize the layout of a JSON file by its keys, whatever their order, without parsing the whole file.

Strings are skipped in one step, so an embedded image in front of the first known key costs little; the number of
tokens is bounded. The kinds exclude each other.
"""

from __future__ import annotations

import functools
import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path

from samtailor.data.listing import folders_in

FOLDERS = ("annotations", "annotation", "ann", "labels", "json", "images")
"""Folders that may hold JSON files, besides the top folder."""
MAX_TOKENS = 60_000
"""Largest number of tokens of a file that are inspected."""
MAX_FILES = 3
"""Number of files of a folder that are inspected to recognize files of one kind for each image."""
_DEPTH = 4  # keys below are not needed
_TOKEN = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)
_MANY = 256  # keys of one object that are kept

Path_ = tuple[str, ...]


def json_kind(path: Path) -> str | None:
    """Layout of a JSON file; None if it is none of them or cannot be read.

    "coco", "labelme", "sa-1b", "darwin", "datumaro", "supervisely" (an image), "supervisely-meta", "via",
    "label-studio".
    """
    try:
        state = path.stat()
    except OSError:
        return None
    return _kind(str(path), state.st_size, state.st_mtime_ns)


def json_files(folder: Path | None) -> list[Path]:
    """JSON files directly in a folder, sorted; hidden files are skipped."""
    if folder is None or not folder.is_dir():
        return []
    names = sorted(n for n in os.listdir(folder) if n.lower().endswith(".json") and not n.startswith("."))
    return [folder / name for name in names]


def of_kind(root: Path, kind: str, *, most: int | None = None) -> list[Path]:
    """JSON files of a kind: all those in the top folder, else in the first of `FOLDERS` that has one.

    Args:
        root: folder of the data set.
        kind: see `json_kind`.
        most: inspect only so many files of a folder, as a fast test; None inspects all.
    """
    inside = {folder.name.lower(): folder for folder in reversed(folders_in(root))}
    for folder in [root, *(inside[name] for name in FOLDERS if name in inside)]:
        files = [file for file in json_files(folder)[:most] if json_kind(file) == kind]
        if files:
            return files
    return []


@functools.lru_cache(maxsize=4096)
def _kind(path: str, size: int, modified: int) -> str | None:
    keys = keys_of(Path(path))
    return next((kind for kind, test in _TESTS.items() if test(keys)), None)


def keys_of(path: Path) -> dict[Path_, str]:
    """Type of the value ("{", "[", "s" string, "v" other) by the path of its key; "[]" stands for list elements.

    Of the paths, those of at most four keys are kept. Empty if the file is not JSON.
    """
    keys: dict[Path_, str] = {}
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = 3 if content[:3] == b"\xef\xbb\xbf" else 0
            for place, kind in _walk(content, start):
                keys.setdefault(place, kind)
                if len(keys) > _MANY * _DEPTH:
                    break
    except (OSError, ValueError):  # also an empty file, which cannot be mapped
        return {}
    return keys


def _walk(content: mmap.mmap, start: int) -> Iterator[tuple[Path_, str]]:
    """(path, type) of every value, in the order of the file. Wrong punctuation is not noticed."""
    place: list[str] = []  # keys of the open containers below the first
    kinds: list[bytes] = []
    key: str | None = None
    waiting: str | None = None  # a string that is a key if a colon follows
    for number, token in enumerate(_TOKEN.finditer(content, start)):
        if number >= MAX_TOKENS:
            return
        text = token[0]
        first = text[:1]
        if not kinds:
            if first not in (b"{", b"["):
                return
            kinds.append(first)
            place.append("")
            yield (), first.decode()
            continue
        if first == b":":
            key, waiting = waiting, None
        elif first in (b"}", b"]"):
            kinds.pop()
            place.pop()
            key = waiting = None
            if not kinds:
                return
        elif first == b",":
            key = waiting = None
        else:
            inside = kinds[-1]
            if inside == b"{" and key is None:
                waiting = token[1].decode("utf-8", "replace") if first == b'"' and len(text) < 300 else None
                continue
            name = "[]" if inside == b"[" else key or ""
            if len(place) <= _DEPTH:
                yield (*place[1:], name), {b'"': "s", b"{": "{", b"[": "["}.get(first, "v")
            if first in (b"{", b"["):
                kinds.append(first)
                place.append(name)
                key = waiting = None


def _is_coco(keys: dict[Path_, str]) -> bool:
    lists = [name for name in ("images", "annotations") if keys.get((name,)) == "["]
    if not lists or _is_sa1b(keys) or _is_darwin(keys):
        return False
    rows = ("images", "[]", "file_name") in keys or ("annotations", "[]", "image_id") in keys
    return rows or keys.get(("categories",)) == "["


def _is_sa1b(keys: dict[Path_, str]) -> bool:
    return keys.get(("image",)) == "{" and (
        keys.get(("annotations",)) == "[" or ("image", "image_id") in keys or ("image", "file_name") in keys
    )


def _is_darwin(keys: dict[Path_, str]) -> bool:
    if ("image", "original_filename") in keys or ("image", "seq") in keys:  # version 1
        return keys.get(("annotations",)) == "["
    return keys.get(("item",)) == "{" and (keys.get(("annotations",)) == "[" or ("item", "name") in keys)


def _is_via(keys: dict[Path_, str]) -> bool:
    if keys.get(("_via_img_metadata",)) == "{":
        return True
    if keys.get(("metadata",)) == keys.get(("file",)) == keys.get(("project",)) == "{":  # VIA 3
        return True
    tops = [place for place in keys if len(place) == 1] if keys.get(()) == "{" else []
    return any((*top, "filename") in keys and (*top, "regions") in keys for top in tops)


def _is_label_studio(keys: dict[Path_, str]) -> bool:
    if keys.get(()) != "[" or keys.get(("[]",)) != "{":
        return False
    results = (("[]", name) for name in ("annotations", "predictions", "completions"))
    whole = keys.get(("[]", "data")) == "{" and any(keys.get(name) == "[" for name in results)
    least = any(place[:1] == ("[]",) and place[2:] == ("[]", "original_width") for place in keys)
    return whole or least


_TESTS = {
    "labelme": lambda keys: keys.get(("shapes",)) == "[",
    "darwin": _is_darwin,
    "sa-1b": _is_sa1b,
    "datumaro": lambda keys: keys.get(("items",)) == "[" and keys.get(("categories",)) == "{",
    "supervisely": lambda keys: keys.get(("objects",)) == "[" and keys.get(("size",)) == "{",
    "supervisely-meta": lambda keys: keys.get(("classes",)) == "[" and ("classes", "[]", "title") in keys,
    "coco": _is_coco,
    "via": _is_via,
    "label-studio": _is_label_studio,
}


__all__ = ["FOLDERS", "MAX_FILES", "MAX_TOKENS", "json_files", "json_kind", "keys_of", "of_kind"]
