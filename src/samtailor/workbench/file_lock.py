"""One process at a time: a file that is held open, and let go by the system however the process ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from samtailor.errors import InputError


def hold(file: Path) -> IO[bytes]:
    """An open file that no other process can hold until it is closed.

    Raises:
        InputError: another process holds it.
    """
    stream = file.open("ab")
    try:
        _exclusive(stream)
    except OSError as error:
        stream.close()
        raise InputError(f"The project in {file.parent} is open in another samtailor ui. End that one.") from error
    return stream


def _lock_of_the_system() -> Callable[[IO[bytes]], None]:
    if os.name == "nt":
        import msvcrt

        return lambda stream: msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    import fcntl

    return lambda stream: fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


_exclusive = _lock_of_the_system()

__all__ = ["hold"]
