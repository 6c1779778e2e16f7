"""A folder of cache files shared by processes: crash-safe, bounded, least recently used files are removed first.

There are no locks. Files appear by an atomic rename, two processes that write the same file write the same content, and
a missing file is written again. The processes may run on several machines that share a drive, so that a temporary file
of a process that does not run here is not a leftover until it is old.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import platformdirs
from safetensors import SafetensorError

from samtailor.cache.store import ObjectStore
from samtailor.data.writing import replacing, sweep

_STALE_SECONDS = 3600.0  # a hidden file older than this was left behind by a crash
_WRITING_SECONDS = 60.0  # longest time for one file, after which that of a process that does not run here is a leftover
_log = logging.getLogger("samtailor.cache.embeddings")


def default_root(kind: str = "embeddings") -> Path:
    """Folder of a kind of cache: below $SAMTAILOR_CACHE if set, else below the platform's user cache folder."""
    if root := os.environ.get("SAMTAILOR_CACHE"):
        return Path(root).expanduser() / kind
    return platformdirs.user_cache_path("samtailor", appauthor=False, opinion=False) / kind


class _Absent(Exception):
    """The store does not have the file."""


class CacheFolder:
    """Files in one folder, named by the hash of their key.

    Args:
        root: created when first written to. If it is not writable, warn once and write nothing.
        max_bytes: the least recently used files are removed when the folder grows beyond this size.
        store: holds the same files for other machines; None: there is none.
    """

    def __init__(self, root: Path, max_bytes: int, store: ObjectStore | None = None) -> None:
        self.root, self.max_bytes, self.store = root, max_bytes, store
        self._bytes: int | None = None  # size at the last count, plus bytes written since
        self._written = 0
        self._writable = True
        self._counting = threading.Lock()

    def place(self, key: str, suffix: str) -> Path:
        """Path of the file of a key, whether it exists or not."""
        name = hashlib.sha256(key.encode()).hexdigest()[:40]
        return self.root / name[:2] / (name + suffix)

    def write(self, path: Path, write: Callable[[Path], object], *, upload: bool = True) -> None:
        """Write a file atomically: `write` fills a temporary file, which is then renamed. Evict files if necessary.

        Args:
            path: of the file.
            write: writes to the path that it gets.
            upload: also upload the file to the store, if there is one.
        """
        if self._written_here(path, write) and upload and self.store is not None:
            self.store.put(self._name(path), path)

    def fetch(self, path: Path) -> bool:
        """Download a file that is not in the folder from the store; False if it is not there either."""
        if self.store is None or not self._writable:
            return False
        store, name = self.store, self._name(path)

        def download(temporary: Path) -> None:
            if not store.get(name, temporary):
                raise _Absent

        try:
            return self._written_here(path, download)
        except _Absent:
            return False

    def fetch_all(self, paths: Sequence[Path]) -> None:
        """Download those of many files that are in the store."""
        if self.store is not None:
            self.store.get_all([(self._name(path), path) for path in paths], lambda _, path: self.fetch(path))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _written_here(self, path: Path, write: Callable[[Path], object]) -> bool:
        """Write a file into the folder; False, after one warning, if the folder is not writable."""
        if not self._writable:
            return False
        try:
            self._count()
            with replacing(path) as temporary:
                write(temporary)
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())  # the content must reach the disk before the rename
                size = temporary.stat().st_size
        except (OSError, SafetensorError) as error:
            self._writable = False
            _log.warning("The cache folder %s is not writable (%s). Its content will be recomputed.", self.root, error)
            return False
        with self._counting:
            self._bytes = (self._bytes or 0) + size
            self._written += size
            if self._bytes > self.max_bytes or self._written > self.max_bytes // 20:
                self._evict()  # regular counting includes files of other processes
        return True

    def _count(self) -> None:
        """Count the files before the first one is written, and remove leftovers."""
        with self._counting:
            if self._bytes is None:
                folders = [f for f in (self.root.iterdir() if self.root.is_dir() else ()) if len(f.name) == 2]
                sweep(*folders, older_than=_WRITING_SECONDS)
                self._bytes = sum(size for _, size, _ in self._files())

    def held(self) -> int:
        """Bytes of all files, counted now."""
        return sum(size for _, size, _ in self._files())

    def _evict(self) -> None:
        """Remove the least recently used files until a tenth of `max_bytes` is free, and leftovers of crashes."""
        self._written = 0
        files = sorted(self._files())
        self._bytes = sum(size for _, size, _ in files)
        keep = self.max_bytes if self._bytes <= self.max_bytes else self.max_bytes * 9 // 10
        for used, size, path in files:
            stale = path.name.startswith(".") and time.time() - used > _STALE_SECONDS
            if self._bytes <= keep and not stale:
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError:  # Windows: mapped by another process
                continue
            self._bytes -= size

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """(last use, bytes, path) of every file, partially written ones included."""
        root = self.root
        for folder in (f for f in (root.iterdir() if root.is_dir() else ()) if len(f.name) == 2 and f.is_dir()):
            for path in folder.iterdir():
                try:
                    stat = path.stat()
                except OSError:
                    continue
                yield stat.st_mtime, stat.st_size, path


def touch(path: Path) -> None:
    """Mark a file as used now; access times of file systems are too coarse (relatime) or disabled."""
    try:
        os.utime(path)
    except OSError:  # evicted meanwhile, or a read-only cache
        return


__all__ = ["CacheFolder", "default_root", "touch"]
