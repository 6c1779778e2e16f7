"""A lock that lets one process at a time write to a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from samtailor.errors import InputError

NAME = ".lock"
"""The lock file in the folder."""


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of a folder during the block. The operating system drops the lock of a process that was killed.

    The folder is created for the lock, and removed again if nothing was written to it.

    Args:
        folder: the folder.
        what: what is being written, for the message: "a fit".

    Raises:
        InputError: another process holds the lock.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / NAME)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(
            f"Another process is writing {what} to {folder}. Wait until it is done, stop it, or choose another folder."
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps an open file
            (folder / NAME).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # of files: a folder that is not empty stays
            for place in made:
                place.rmdir()


__all__ = ["NAME", "locked"]
