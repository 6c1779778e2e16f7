"""Notices: problems of a data set that its reader corrected.

They are logged to `samtailor.data`, the first of each kind as a warning and the others at debug level, so that two
hundred resized masks produce one line. `data.check` collects all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_logger = logging.getLogger("samtailor.data")
_logged: set[str] = set()


@dataclass(frozen=True)
class Notice:
    """One notice: `kind` is a short stable name ("mask resized"), `message` a sentence that names the file."""

    kind: str
    message: str


def notice(kind: str, message: str, *, quiet: bool = False) -> None:
    """Log a notice: a warning for the first of its kind (never if `quiet`), else a debug message."""
    first = kind not in _logged and not quiet
    _logged.add(kind)
    more = " (Further notices of this kind are not shown; `samtailor check` lists them.)" if first else ""
    extra = {"notice": Notice(kind, message)}
    _logger.log(logging.WARNING if first else logging.DEBUG, "%s%s", message, more, extra=extra)


@contextmanager
def collected() -> Iterator[list[Notice]]:
    """Collect all notices logged inside the block instead of showing them."""
    notices: list[Notice] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if hasattr(record, "notice"):
                notices.append(record.notice)

    handler, level, propagate = Collector(), _logger.level, _logger.propagate
    _logger.addHandler(handler)
    _logger.setLevel(logging.DEBUG)
    _logger.propagate = False
    try:
        yield notices
    finally:
        _logger.removeHandler(handler)
        _logger.setLevel(level)
        _logger.propagate = propagate


__all__ = ["Notice", "collected", "notice"]
