"""An object store behind the cache of embeddings: an embedding that one machine made is downloaded by the others.

Addresses are those of fsspec: s3://bucket/folder, gs://bucket/folder, /mnt/shared. Credentials come from the
environment. Entries have the names that they have in the cache, and are checked after the download like files of the
cache.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

from samtailor.errors import InputError, MissingExtraError

VARIABLE = "SAMTAILOR_CACHE_STORE"
_DOWNLOADS = 16  # at a time
_log = logging.getLogger("samtailor.cache.embeddings")


def open_address(address: str, shown: str | None = None) -> tuple[Any, str]:
    """The file system of an address (fsspec) and the path in it. Credentials are those of the environment.

    Args:
        address: a path, or s3://bucket/folder, gs://..., https://..., memory://...
        shown: what error messages name; None: the address.

    Raises:
        InputError: an unknown kind of address, or an invalid one.
        MissingExtraError: the library for this kind of address is missing.
    """
    shown = shown or address
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(address)
    except ImportError as error:
        raise MissingExtraError(f"{shown}: {error}. For s3:// and gs:// install samtailor[store].") from error
    except ValueError as error:
        raise InputError(f"{shown}: {error}. Use a local path, or an address such as s3://bucket/folder.") from error


class ObjectStore:
    """Files in an object store, for several threads. After the first fault it is not used any more, with a warning.

    Args:
        address: of a folder, as fsspec writes it.

    Raises:
        InputError: no such kind of store, or an invalid address.
        MissingExtraError: the library for it is not installed.
    """

    def __init__(self, address: str) -> None:
        self._files, self._root = open_address(address, f"{VARIABLE}={address}")
        self.address = address
        self._works = True

    def get(self, name: str, path: Path) -> bool:
        """Download a file; False if there is none.

        Args:
            name: of the file, with forward slashes.
            path: written to; not atomic.
        """
        if not self._works:
            return False
        try:
            self._files.get_file(self._place(name), str(path))
        except FileNotFoundError:
            return False
        except Exception as error:  # each kind of store has its own
            self._fail("read", error)
            return False
        return True

    def put(self, name: str, path: Path) -> None:
        """Upload a file; it appears whole or not at all."""
        if not self._works:
            return
        place = self._place(name)
        try:
            if not self._is_folder:
                self._files.put_file(str(path), place)
                return
            temporary = f"{place}.{uuid4().hex[:8]}.part"  # an upload to an object store is atomic, a copy is not
            self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(path), temporary)
            self._files.mv(temporary, place)
        except Exception as error:
            self._fail("written to", error)

    def get_all(self, files: Sequence[tuple[str, Path]], fetch: Any) -> None:
        """Call `fetch(name, path)` for many files at once, in threads."""
        if self._works and files:
            with ThreadPoolExecutor(min(_DOWNLOADS, len(files))) as pool:
                list(pool.map(lambda file: fetch(*file), files))

    @property
    def _is_folder(self) -> bool:
        protocol = self._files.protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    def _place(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _fail(self, what: str, error: Exception) -> None:
        if self._works:
            self._works = False
            _log.warning(
                "The store of embeddings %s cannot be %s (%s: %s). From here on embeddings are computed, and kept in "
                "the cache of this machine only.",
                self.address, what, type(error).__name__, str(error).strip() or "no details",
            )  # fmt: skip


def default_store() -> ObjectStore | None:
    """The store that the variable `VARIABLE` names; None if it is not set."""
    address = os.environ.get(VARIABLE, "").strip()
    return ObjectStore(address) if address else None


__all__ = ["VARIABLE", "ObjectStore", "default_store", "open_address"]
