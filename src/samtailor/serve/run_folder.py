"""The temporary folder of a service with several processes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from samtailor.cache.folder import default_root

_STARTING = 10.0  # seconds


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder of this service in the cache, removed at the end; those of killed services are removed first.

    A lock shows that a service runs: containers that share a cache cannot see the processes of each other.
    """
    root = default_root("serve")
    root.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(root)
    folder = root / uuid4().hex
    folder.mkdir(mode=0o700)  # it holds images of clients
    with FileLock(folder / "lock"):
        (folder / "metrics").mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(root: Path) -> None:
    for folder in root.iterdir():
        lock = FileLock(folder / "lock")
        with suppress(Timeout, OSError):
            if time.time() - folder.stat().st_mtime < _STARTING:  # its lock may not be held yet
                continue
            lock.acquire(timeout=0)
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                lock.release()


__all__ = ["run_folder"]
