"""Names of classes and images in written data sets: unambiguous, readable, and inside the output folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from hashlib import sha256
from pathlib import PurePosixPath

from samtailor.errors import InputError

_WINDOWS = frozenset({"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))})
"""Names that Windows reserves for devices, with any suffix."""
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff\ud800-\udfff]+")
_BYTES = 100  # of a file name; file systems allow 255, and a suffix and a temporary name must fit too


def class_texts(classes: Iterable[str], reserved: Collection[str] = ()) -> dict[str, str]:
    """Names of classes as they are written into files: without control characters and outer spaces, all different.

    Args:
        classes: class names.
        reserved: names that mean something else in the format, in lower case.

    Returns:
        the written name by class name; the same as the class name in all usual cases.
    """
    return _apart(classes, lambda name: _CONTROL.sub(" ", name).strip() or "unnamed", str, reserved)


def class_files(classes: Iterable[str]) -> dict[str, str]:
    """A file or folder name for each class, valid and different on every common file system.

    Separators and other characters that a file system forbids become "_", names that climb ("..") or are reserved get a
    "_", and names that differ only in case or Unicode form, or that became equal, get a number.
    """
    return _apart(classes, _file_name, lambda name: unicodedata.normalize("NFC", name).casefold(), ())


def image_name(name: str) -> str:
    """The name of an image as it can be written: bytes that are not UTF-8 become "_xNN".

    Raises:
        InputError: the name is absolute or would leave the output folder.
    """
    parts = PurePosixPath(name).parts
    if not name or name.startswith("/") or ".." in parts or "\x00" in name or "\\" in name:
        raise InputError(
            f"An image cannot be written under the name {name!r}: expected a relative path without '..', with '/' "
            "between folders."
        )
    return re.sub("[\ud800-\udfff]", lambda match: f"_x{ord(match[0]) & 0xFF:02x}", name)


def _file_name(name: str) -> str:
    clean = _FORBIDDEN.sub("_", _CONTROL.sub("_", unicodedata.normalize("NFC", name))).rstrip(" .").lstrip(" ")
    if not clean.strip("._") or clean.startswith(".") or clean.partition(".")[0].lower() in _WINDOWS:
        clean = f"_{clean.lstrip('.')}"
    if len(clean.encode()) > _BYTES:
        digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        clean = clean.encode()[:_BYTES].decode("utf-8", "ignore") + f"_{digest}"
    return clean


def _apart(
    names: Iterable[str], written: Callable[[str], str], key: Callable[[str], str], reserved: Collection[str]
) -> dict[str, str]:
    """Written names by name; a name that needs no change keeps it, and others get a number if theirs is taken."""
    names = list(dict.fromkeys(names))
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(names, key=lambda name: written(name) != name):
        base = written(name)
        number, one = 1, base
        while key(one) in taken or one.lower() in reserved:
            number += 1
            one = f"{base}_{number}"
        taken.add(key(one))
        result[name] = one
    return {name: result[name] for name in names}


__all__ = ["class_files", "class_texts", "image_name"]
