"""Read XML files of data sets: no document type, no entities, bounded nesting."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from samtailor.limits import parse_xml, read_bytes


def read_xml(path: Path) -> ElementTree.Element:
    """The root element of an XML file.

    Raises:
        DataError: the file cannot be read, is not well-formed, declares a document type (which may define entities),
            or exceeds a limit of size or nesting.
    """
    return parse_xml(read_bytes(path, "annotation_bytes"), str(path))


def xml_root(path: Path) -> tuple[str, tuple[str, ...]]:
    """Name of the root element and of the elements directly in it, from the first 64 kB; empty if it is not XML."""
    names: list[str] = []
    depth = 0
    root = ""

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, root
        depth += 1
        if depth == 1:
            root = name
        elif depth == 2 and len(names) < 64:
            names.append(name)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def stop(*_: Any) -> None:
        raise _DocumentType

    head = b""
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = stop
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
        parser.Parse(head, False)
    except _DocumentType:  # `read_xml` says that it is refused
        first = re.search(rb"<([A-Za-z_][\w.-]*)", head)
        root = first[1].decode() if first else ""
    except (expat.ExpatError, OSError, ValueError, LookupError):
        pass
    return root, tuple(names)


class _DocumentType(Exception):
    """A document type was declared."""


__all__ = ["read_xml", "xml_root"]
