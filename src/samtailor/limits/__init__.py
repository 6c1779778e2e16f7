"""Limits on what files and requests from others may do: how large they may be, and whether they may name code.

Every reader of the package takes its bounds from `LIMITS`. A user who needs more sets them by the environment variable
`SAMTAILOR_LIMITS`, for example `SAMTAILOR_LIMITS=pixels=1000000000,seconds=900`.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.errors import DataError, InputError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

VARIABLE = "SAMTAILOR_LIMITS"
"""Environment variable that changes limits: NAME=VALUE, separated by commas."""
TRUSTED = "SAMTAILOR_TRUSTED_WEIGHTS"
"""Environment variable with weights files that may run code, separated as in PATH; see `trust`."""
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


def parse_json(data: bytes | str, what: str, *, nested: bool = False) -> Any:
    """Parse JSON.

    Args:
        data: the text; UTF-8, with or without a byte order mark.
        what: subject of the message.
        nested: check the limit "nesting" too, for metadata.

    Raises:
        DataError: not JSON.
    """
    try:
        value = json.loads(data.decode("utf-8-sig") if isinstance(data, bytes) else data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{what}: not valid JSON ({_short(error)}).") from error
    if nested:
        _check_nesting(value, what)
    return value


def parse_yaml(data: bytes | str, what: str, *, as_text: bool = False) -> Any:
    """Parse YAML without running code. Aliases count as copies of what they stand for.

    Args:
        data: the text; UTF-8, with or without a byte order mark.
        what: subject of the message.
        as_text: leave all values text, so that `no` is a name and not false.

    Raises:
        DataError: not YAML, too large, too deep, or too many values.
    """
    import yaml

    hold(len(data), "yaml_bytes", what)
    name = "BaseLoader" if as_text else "SafeLoader"
    loader = getattr(yaml, "C" + name, getattr(yaml, name))  # ten times as fast where it is built in
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        hold(_yaml_nodes(text, loader, what), "yaml_nodes", what)
        return yaml.load(text, Loader=loader)  # a safe loader
    except DataError:
        raise
    except (yaml.YAMLError, *MALFORMED) as error:  # dates and numbers out of range raise ValueError
        raise DataError(f"{what}: not valid YAML ({_short(error)}).") from error


def parse_xml(data: bytes, what: str) -> Element:
    """Parse XML. A document type is refused: its entities may expand without limit.

    Raises:
        DataError: not XML, a document type, or more levels than the limit "nesting".
    """
    from xml.etree import ElementTree

    if b"<!DOCTYPE" in data.replace(b"\0", b""):  # in UTF-16 too
        raise DataError(f"{what}: declares a document type, which annotation files do not need. Remove it.")
    depth = 0
    root: Element | None = None
    parser: Any = ElementTree.XMLPullParser(("start", "end"))
    try:
        for start in range(0, len(data), 2**20):
            parser.feed(data[start : start + 2**20])
            for event, element in parser.read_events():
                root = element if root is None else root
                depth += 1 if event == "start" else -1
                hold(depth, "nesting", what)
        parser.close()
    except (ElementTree.ParseError, *MALFORMED) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{what}: not valid XML ({_short(error)}).") from error
    if root is None:
        raise DataError(f"{what}: not valid XML (no element).")
    return root


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


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a named pipe without a writer does not block."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_nesting(value: Any, what: str) -> None:
    level, depth = [value], 0
    while level:
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        depth += bool(inner)
        hold(depth, "nesting", what)
        level = inner


def _yaml_nodes(text: str, loader: Any, what: str) -> int:
    """Number of values with aliases replaced. Reads the events only, so that nothing is built before it is counted."""
    import yaml

    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise DataError(f"{what}: the alias *{event.anchor} stands for nothing, or for what contains it.")
            anchor, size = None, sizes[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1))
            hold(len(open_nodes) - 1, "nesting", what)
            continue
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        outer, total = open_nodes[-1]
        open_nodes[-1] = (outer, total + size)
        if total + size > limit("yaml_nodes"):
            return total + size
    return open_nodes[0][1]


def _short(error: BaseException) -> str:
    """First line of an error message, at most 200 characters."""
    text = str(error).strip() or type(error).__name__
    return " ".join(text.split())[:200]


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
