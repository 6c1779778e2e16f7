"""Parse JSON, YAML and XML from files of others, within the limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from samtailor.errors import DataError
from samtailor.limits.bounds import MALFORMED, hold, limit

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


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


__all__ = ["parse_json", "parse_xml", "parse_yaml"]
