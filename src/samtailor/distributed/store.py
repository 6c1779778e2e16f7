"""The output folder: a local folder, or a folder of an object store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from samtailor.cache.store import open_address
from samtailor.data.folder_lock import locked
from samtailor.data.writing import check_seal, replacing, sealed, sweep
from samtailor.distributed.items import is_remote
from samtailor.errors import DataError
from samtailor.limits import MALFORMED


class Store:
    """Files of a folder. A file is written completely or not at all.

    Args:
        folder: path, or address such as s3://bucket/folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = str(folder)
        self.local = None if is_remote(self.folder) else Path(self.folder.removeprefix("file://"))
        if self.local is None:
            self._system, self._root = open_address(self.folder)

    def lock(self) -> AbstractContextManager[None]:
        """Keep other drivers of this machine out of a local folder."""
        return nullcontext() if self.local is None else locked(self.local, "results")

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically; object stores show a file when its upload is complete."""
        if self.local is not None:
            with replacing(self.local / name) as temporary:
                temporary.write_bytes(content)
        else:
            self._system.pipe_file(f"{self._root}/{name}", content)

    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            DataError: it does not exist.
        """
        try:
            if self.local is not None:
                return (self.local / name).read_bytes()
            return bytes(self._system.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError as error:
            raise DataError(f"{self.folder} has no file {name}.") from error

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON file with a checksum of its values."""
        self.write(name, json.dumps(sealed(value), ensure_ascii=False, allow_nan=False).encode() + b"\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file and check its checksum.

        Raises:
            DataError: missing, damaged, or changed.
        """
        try:
            value = json.loads(self.read(name))
            check_seal(value, f"{self.folder}/{name}")
        except DataError:
            raise
        except MALFORMED as error:
            raise DataError(f"{self.folder}/{name} is damaged: {error}.") from error
        return dict(value)

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of this name."""
        if self.local is not None:
            return (self.local / name).exists()
        return bool(self._system.exists(f"{self._root}/{name}"))

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        if self.local is not None:
            (self.local / name).unlink(missing_ok=True)
        elif self.exists(name):
            self._system.rm_file(f"{self._root}/{name}")

    def files(self, folder: str) -> list[str]:
        """Names of the files of a subfolder ("objects/a.parquet"), sorted; temporary files are removed."""
        if self.local is not None:
            sweep(self.local / folder)
            paths: Iterator[Path] | tuple[()] = (self.local / folder).glob("*") if self.exists(folder) else ()
            return sorted(f"{folder}/{path.name}" for path in paths if path.is_file() and path.name[0] != ".")
        listed = self._system.find(f"{self._root}/{folder}", maxdepth=1) if self.exists(folder) else []
        return sorted(f"{folder}/{path.rpartition('/')[2]}" for path in listed)

    def empty(self) -> bool:
        """Whether the folder holds nothing yet, or does not exist."""
        if self.local is not None:
            return not self.local.exists() or all(path.name[0] == "." for path in self.local.iterdir())
        return not self._system.exists(self._root) or not self._system.find(self._root)


__all__ = ["Store"]
