"""Limits on what files and requests from others may do: how large they may be, and whether they may name code.

Every reader of the package takes its bounds from `LIMITS`. A user who needs more sets them by the environment variable
`SAMTAILOR_LIMITS`, for example `SAMTAILOR_LIMITS=pixels=1000000000,seconds=900`.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from samtailor.errors import DataError
from samtailor.limits.bounds import LIMITS, MALFORMED, VARIABLE, Limit, hold, limit, tick, timed
from samtailor.limits.parsing import parse_json, parse_xml, parse_yaml

TRUSTED = "SAMTAILOR_TRUSTED_WEIGHTS"
"""Environment variable with weights files that may run code, separated as in PATH; see `trust`."""


def read_bytes(path: Path, kind: str) -> bytes:
    """Contents of a regular file.

    Args:
        path: the file.
        kind: name of the limit of its size, e.g. "yaml_bytes".

    Raises:
        DataError: it is missing, no regular file, unreadable or too large.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{path} is not a regular file, but a folder, pipe or device.")
            hold(status.st_size, kind, str(path))
            return file.read(status.st_size)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error


def module_command(module: str) -> tuple[str, ...]:
    """Command that runs a module as `python -m` does, but never imports from the current folder.

    A folder of images from someone else may hold a json.py.
    """
    program = (
        "import sys; sys.path[:] = [place for place in sys.path if place]; import runpy; "
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return sys.executable, "-c", program


def trust(path: str | Path) -> None:
    """Let a weights file run code in this process and in those that it starts: the user named it on purpose."""
    known = [text for text in os.environ.get(TRUSTED, "").split(os.pathsep) if text]
    os.environ[TRUSTED] = os.pathsep.join(dict.fromkeys([*known, os.path.abspath(Path(path).expanduser())]))


def trusted(path: str | Path) -> bool:
    """Whether the user has trusted a weights file, see `trust`."""
    return os.path.abspath(Path(path).expanduser()) in os.environ.get(TRUSTED, "").split(os.pathsep)


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a named pipe without a writer does not block."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


__all__ = [
    "LIMITS",
    "MALFORMED",
    "TRUSTED",
    "VARIABLE",
    "Limit",
    "hold",
    "limit",
    "module_command",
    "parse_json",
    "parse_xml",
    "parse_yaml",
    "read_bytes",
    "tick",
    "timed",
    "trust",
    "trusted",
]
