"""Bounds of what is read: sizes, numbers and times, and how they are changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from samtailor.errors import DataError, InputError

VARIABLE = "SAMTAILOR_LIMITS"
"""Environment variable that changes limits: NAME=VALUE, separated by commas."""
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, UnicodeError, ValueError)
"""What Python and numpy raise for values of a wrong type, range or shape."""


@dataclass(frozen=True)
class Limit:
    """One bound: its default, its unit and what it bounds."""

    default: int
    unit: str
    bounds: str


LIMITS = {
    "annotation_bytes": Limit(2**31, "bytes", "A file of annotations: JSON, XML, text."),
    "metadata_bytes": Limit(2**26, "bytes", "A JSON file of samtailor or of a model: adapter.json, config.json, ..."),
    "yaml_bytes": Limit(2**20, "bytes", "A YAML file: settings, data.yaml."),
    "yaml_nodes": Limit(100_000, "values", "Values of a YAML file after its aliases are replaced."),
    "nesting": Limit(64, "levels", "Lists and objects within each other in YAML and metadata."),
    "pixels": Limit(2**28, "pixels", "The size that an annotation file declares for a mask."),
    "points": Limit(2_000_000, "points", "Polygon points of one object."),
    "outline": Limit(10_000_000, "pixels", "Length of all polygon edges of one object, clipped near the image."),
    "objects": Limit(1_000_000, "objects", "Annotations of one image."),
    "width": Limit(65_536, "", "A layer width, rank or count that an adapter or a base model declares."),
    "layers": Limit(1_024, "", "Layers that a base model declares."),
    "seconds": Limit(120, "seconds", "Reading the annotations of one image."),
}
"""All limits by name."""
_deadline: ContextVar[tuple[float, str] | None] = ContextVar("deadline", default=None)


def limit(name: str) -> int:
    """The present value of a limit.

    Raises:
        InputError: `SAMTAILOR_LIMITS` has an unknown name, or a value that is not a positive integer.
    """
    text = os.environ.get(VARIABLE)
    return LIMITS[name].default if not text else _given(text).get(name, LIMITS[name].default)


_LARGEST = 10**18
"""Numbers above it are not written into messages."""


def hold(value: float, name: str, what: str) -> None:
    """Raise unless a value is within a limit.

    Args:
        value: a size or a count.
        name: of the limit.
        what: subject of the message, e.g. "data.yaml".

    Raises:
        DataError: it exceeds the limit; the message says how to change it.
    """
    most = limit(name)
    if not value <= most:  # NaN is refused too
        unit = f" {LIMITS[name].unit}" if LIMITS[name].unit else ""
        if not value <= _LARGEST:  # NaN too; a whole number may be too long to be written
            raise DataError(f"{what}: the number exceeds the limit {name} of {most:,}{unit} by far.")
        raise DataError(
            f"{what}: {value:,}{unit} exceed the limit {name} of {most:,}. If you trust the file, set "
            f"{VARIABLE}={name}={value:.0f}."
        )


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Bound the time of the block by the limit "seconds", as far as it calls `tick`."""
    token = _deadline.set((time.monotonic() + limit("seconds"), what))
    try:
        yield
    finally:
        _deadline.reset(token)


def tick() -> None:
    """Raise DataError if the time of the enclosing `timed` block is over."""
    deadline = _deadline.get()
    if deadline is not None and time.monotonic() > deadline[0]:
        seconds = limit("seconds")
        raise DataError(
            f"{deadline[1]}: reading takes more than {seconds} seconds. If you trust the file, set "
            f"{VARIABLE}=seconds={10 * seconds}."
        )


def _given(text: str) -> dict[str, int]:
    values = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if name not in LIMITS or not value.isdecimal() or not 0 < len(value) < 19 or int(value) < 1:
            raise InputError(
                f"{VARIABLE} needs NAME=VALUE with positive integers, got {part!r}. Names: {', '.join(LIMITS)}."
            )
        values[name] = int(value)
    return values


__all__ = ["LIMITS", "MALFORMED", "VARIABLE", "Limit", "hold", "limit", "tick", "timed"]
