"""Notices: what a reader of data put right by itself and a user may want to know.

They go to the logger `samtailor.data`: the first of each kind as a warning, the rest as debug, so that two hundred
resized masks make one line. `data.check` collects all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_logger = logging.getLogger("samtailor.data")
_told: set[str] = set()


@dataclass(frozen=True)
class Notice:
    """One notice: `kind` is a short stable name ("mask resized"), `message` a sentence that names the file."""

    kind: str
    message: str


def notice(kind: str, message: str, *, quiet: bool = False) -> None:
    """Tell the user once a kind (never when `quiet`), and every time whoever collects."""
    first = kind not in _told and not quiet
    _told.add(kind)
    more = " (More of this kind are not shown; `samtailor check` lists them.)" if first else ""
    extra = {"notice": Notice(kind, message)}
    _logger.log(logging.WARNING if first else logging.DEBUG, "%s%s", message, more, extra=extra)


@contextmanager
def collected() -> Iterator[list[Notice]]:
    """Collect every notice given inside the block, and keep them off the screen."""
    found: list[Notice] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if hasattr(record, "notice"):
                found.append(record.notice)

    handler, level, propagate = Collector(), _logger.level, _logger.propagate
    _logger.addHandler(handler)
    _logger.setLevel(logging.DEBUG)
    _logger.propagate = False
    try:
        yield found
    finally:
        _logger.removeHandler(handler)
        _logger.setLevel(level)
        _logger.propagate = propagate


__all__ = ["Notice", "collected", "notice"]
