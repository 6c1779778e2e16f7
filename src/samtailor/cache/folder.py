"""A folder of cache files shared by processes: crash-safe, bounded, least recently used files are removed first.

There are no locks. Files appear by an atomic rename, two processes that write the same file write the same content, and
a missing file is written again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs
from safetensors import SafetensorError

from samtailor.data.writing import replacing, sweep

_STALE_SECONDS = 3600.0  # a hidden file older than this was left behind by a crash
_log = logging.getLogger("samtailor.cache.embeddings")


def default_root(kind: str = "embeddings") -> Path:
    """Folder of a kind of cache: below $SAMTAILOR_CACHE if set, else below the platform's user cache folder."""
    if root := os.environ.get("SAMTAILOR_CACHE"):
        return Path(root).expanduser() / kind
    return platformdirs.user_cache_path("samtailor", appauthor=False, opinion=False) / kind


class CacheFolder:
    """Files in one folder, named by the hash of their key.

    Args:
        root: created when first written to. If it is not writable, warn once and write nothing.
        max_bytes: the least recently used files are removed when the folder grows beyond this size.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self.root, self.max_bytes = root, max_bytes
        self._bytes: int | None = None  # size at the last count, plus bytes written since
        self._written = 0
        self._writable = True
        self._counting = threading.Lock()

    def place(self, key: str, suffix: str) -> Path:
        """Path of the file of a key, whether it exists or not."""
        name = hashlib.sha256(key.encode()).hexdigest()[:40]
        return self.root / name[:2] / (name + suffix)

    def write(self, path: Path, write: Callable[[Path], object]) -> None:
        """Write a file atomically: `write` fills a temporary file, which is then renamed. Evict files if necessary."""
        if not self._writable:
            return
        try:
            if self._bytes is None:
                sweep(*(f for f in (self.root.iterdir() if self.root.is_dir() else ()) if len(f.name) == 2))
                self._bytes = sum(size for _, size, _ in self._files())
            with replacing(path) as temporary:
                write(temporary)
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())  # the content must reach the disk before the rename
                size = temporary.stat().st_size
        except (OSError, SafetensorError) as error:
            self._writable = False
            _log.warning("The cache folder %s is not writable (%s). Its content will be recomputed.", self.root, error)
            return
        with self._counting:
            self._bytes += size
            self._written += size
            if self._bytes > self.max_bytes or self._written > self.max_bytes // 20:
                self._evict()  # regular counting includes files of other processes

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
