"""Atomic writes: a hidden temporary file is renamed to its destination when it is complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image

from samtailor.errors import DataError, InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`. It replaces `path` on success and is removed on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        temporary.touch()
        usual = stat.S_IMODE(temporary.stat().st_mode)  # permissions of the umask; safetensors would set 0600
        yield temporary
        temporary.chmod(usual)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def flush(folder: Path) -> None:
    """Wait until all files and folders below a folder are on the disk, so that a power loss leaves them complete."""
    for path in (*folder.rglob("*"), folder):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_LEFTOVER = re.compile(r"\..+\.(\d+)\.[0-9a-f]{8}(\.[^.]*)?")


def sweep(*folders: Path, older_than: float = 0.0) -> list[Path]:
    """Delete temporary files and folders of processes that were killed while they wrote; returns what was deleted.

    Args:
        folders: searched without their subfolders; missing ones are skipped.
        older_than: seconds since the last change. In a folder that other machines or containers write to, the process
            of a temporary file may run there.
    """
    gone = []
    for folder in folders:
        for path in list(folder.iterdir()) if folder.is_dir() else ():
            match = _LEFTOVER.fullmatch(path.name)
            if match is None or _runs(int(match[1])):
                continue
            try:
                if older_than and time.time() - path.stat().st_mtime < older_than:
                    continue
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            except OSError:  # another process was faster, or the folder is read-only
                continue
            gone.append(path)
    return gone


def temporary_beside(path: Path) -> Path:
    """A hidden path beside `path` that `sweep` recognizes; it does not exist."""
    return path.with_name(f".{path.stem}.{os.getpid()}.{uuid4().hex[:8]}{path.suffix}")


def _runs(number: int) -> bool:
    """Whether a process of this number runs on this machine."""
    if number == os.getpid():
        return True
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user
        return True
    return True


def write_png(path: Path, values: np.ndarray) -> None:
    """Write a PNG file atomically.

    Args:
        path: the file; missing folders are created.
        values: uint8 (height, width) or (height, width, 3 or 4); uint16 (height, width); bool (height, width) as 0/255.

    Raises:
        InputError: other values.
    """
    good = values.dtype in (np.uint8, np.uint16, np.bool_) and values.ndim in (2, 3)
    if not good or (values.ndim == 3 and (values.dtype != np.uint8 or values.shape[2] not in (3, 4))):
        raise InputError(
            f"A PNG file needs uint8 (height, width[, 3 or 4]), uint16 or bool (height, width), "
            f"got {values.dtype} of shape {values.shape}."
        )
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    with replacing(path) as temporary:
        Image.fromarray(np.ascontiguousarray(values)).save(temporary, format="PNG")


SEAL = "crc32"
"""Key of the checksum in a sealed JSON file."""


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the checksum of its other values, so that a damaged file is noticed when it is read."""
    plain = {key: value for key, value in values.items() if key != SEAL}
    return {**plain, SEAL: _checksum(plain)}


def check_seal(values: Mapping[str, Any], what: Path | str) -> None:
    """Raise DataError if a JSON object has a checksum and differs from it. One without a checksum is accepted."""
    plain = {key: value for key, value in values.items() if key != SEAL}
    if SEAL in values and values[SEAL] != _checksum(plain):
        raise DataError(
            f"{what} has changed since it was written: its checksum differs. If you edited it on purpose, delete its "
            f"entry {SEAL!r}; else it is damaged."
        )


def _checksum(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{zlib.crc32(text.encode()):08x}"


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write a JSON file atomically, in UTF-8, keys in the given order.

    Args:
        path: the file; missing folders are created.
        value: a JSON-compatible value.
        indent: spaces; None writes one line, which is faster and smaller for lists of numbers.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


__all__ = ["SEAL", "check_seal", "flush", "replacing", "sealed", "sweep", "temporary_beside", "write_json", "write_png"]
