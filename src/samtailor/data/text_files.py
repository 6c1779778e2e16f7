"""Read text and JSON files of a data set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from samtailor.errors import DataError
from samtailor.limits import parse_json, read_bytes


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


__all__ = ["json_mentions", "read_json", "read_text"]
