"""A folder of files made once and shared by processes: crash-safe, bounded, the least recently used go first.

There are no locks: a file takes its place by a rename, two processes that make the same file make the same content,
and a file that is gone is made again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError

from samtailor.data.writing import replacing

_STALE_SECONDS = 3600.0  # a hidden file older than this was left behind by a crash
_log = logging.getLogger("samtailor.cache.embeddings")


class CacheFolder:
    """Files below one folder, by the hash of their key.

    Args:
        root: made when first written to. One that cannot be written to is said once; then nothing is written.
        max_bytes: the least recently used files go when the folder grows beyond this.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self.root, self.max_bytes = root, max_bytes
        self._bytes: int | None = None  # size of the folder as last counted, plus what was written since
        self._written = 0
        self._writable = True

    def place(self, key: str, suffix: str) -> Path:
        """Where the file of a key is, or would be."""
        name = hashlib.sha256(key.encode()).hexdigest()[:40]
        return self.root / name[:2] / (name + suffix)

    def write(self, path: Path, write: Callable[[Path], object]) -> None:
        """Let `write` fill a temporary file that then takes its place at once; make room where it is needed."""
        if not self._writable:
            return
        try:
            if self._bytes is None:
                self._bytes = sum(size for _, size, _ in self._files())
            with replacing(path) as temporary:
                write(temporary)
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())  # a rename that outlives a power cut must not outlive the content
                size = temporary.stat().st_size
        except (OSError, SafetensorError) as error:
            self._writable = False
            _log.warning("Embeddings cannot be kept in %s (%s); they are made anew each time.", self.root, error)
            return
        self._bytes += size
        self._written += size
        if self._bytes > self.max_bytes or self._written > self.max_bytes // 20:
            self._evict()  # counting now and then sees what other processes wrote

    def _evict(self) -> None:
        """Drop the least recently used files until a tenth of the room is free, and what crashes left behind."""
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
            except OSError:  # Windows: another process has it mapped
                continue
            self._bytes -= size

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """(last use, bytes, path) of every file, half-written ones included."""
        root = self.root
        for folder in (f for f in (root.iterdir() if root.is_dir() else ()) if len(f.name) == 2 and f.is_dir()):
            for path in folder.iterdir():
                try:
                    stat = path.stat()
                except OSError:
                    continue
                yield stat.st_mtime, stat.st_size, path


def touch(path: Path) -> None:
    """Mark as used now; access times of the file system are too coarse (relatime) or off."""
    try:
        os.utime(path)
    except OSError:  # evicted in between, or a cache that is only readable
        return


__all__ = ["CacheFolder", "touch"]
