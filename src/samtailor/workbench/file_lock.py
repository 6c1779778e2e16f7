"""A lock that lets one process at a time open a project."""

from __future__ import annotations

from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from samtailor.errors import InputError


def lock_project(home: Path) -> BaseFileLock:
    """Lock a project folder for this process, until `release()` is called on the result or the process ends.

    The operating system drops the lock of a process that was killed.

    Args:
        home: folder of the project; created if it does not exist.

    Raises:
        InputError: another process holds the lock, or the folder is not writable.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / "lock", thread_local=False)  # the server closes the project in another thread
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(f"The project in {home} is open in another samtailor ui. Stop that one first.") from error
    except OSError as error:
        raise InputError(
            f"The project folder {home} is not writable ({error.strerror or error}). "
            "Choose another one with --project DIR."
        ) from error
    return lock


__all__ = ["lock_project"]
