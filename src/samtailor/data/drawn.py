"""Annotations from the shapes of annotation tools: drawn, grouped and counted in one place for all formats."""

from __future__ import annotations

import binascii
import struct
import zlib
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtailor.data.account import OTHER_CLASS, count, join, leave_out
from samtailor.data.image import Header
from samtailor.data.layout import rle_annotation
from samtailor.errors import DataError
from samtailor.structures import Annotation

WRONG = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, binascii.Error, zlib.error,
         struct.error)  # fmt: skip
"""Errors of values that are not as a format says."""

Draw = Callable[[tuple[int, int]], dict[str, Any] | None]


@dataclass(frozen=True)
class Shape:
    """One shape of an annotation file.

    Args:
        label: class name; empty if it has none.
        kind: what the tool calls it, for messages.
        draw: returns its mask, run-length encoded, for a size (height, width), or None if it is empty. None: the shape
            has no area (points, lines, tags).
        place: where it stands in the file, for messages.
        group: shapes of one label and group that is not None are one object.
    """

    label: str
    kind: str
    draw: Draw | None
    place: str
    group: Hashable | None = None


def drawn(
    shapes: Iterable[Shape], wanted: Collection[str], size: tuple[int, int], frame: Header, source: Path | str
) -> Iterator[Annotation]:
    """Annotations of the shapes, in the order of their first shape. Everything else is counted as left out.

    Args:
        shapes: the shapes of one image.
        wanted: classes to read.
        size: (height, width) that the coordinates belong to, see `placement.declared_size`.
        frame: header of the image.
        source: annotation file.

    Raises:
        DataError: a shape that is not valid.
    """
    parts: dict[Hashable, tuple[str, str, str, list[dict[str, Any]]]] = {}
    for number, shape in enumerate(shapes):
        count()
        name = f"{source}, {shape.place}"
        if shape.draw is None:
            leave_out("shape without area", f"{name}: {shape.kind!r} has no area and is skipped.")
        elif not shape.label:
            leave_out("shape without class", f"{name}: the {shape.kind} has no class and is skipped.")
        elif shape.label not in wanted:
            leave_out(OTHER_CLASS, f"{name}: the class {shape.label!r} is not requested.", quiet=True)
        else:
            rle = _mask(shape, shape.draw, size, name)
            if rle is None:
                leave_out("empty mask", f"{name}: the {shape.kind} has no area in the image and is skipped.")
                continue
            key = number if shape.group is None else (shape.label, shape.group)
            parts.setdefault(key, (shape.label, name, _drawn_as(shape.kind), []))[3].append(rle)
    from pycocotools import mask as coco

    for label, name, how, rles in parts.values():
        join(len(rles) - 1)
        yield from rle_annotation(label, coco.merge(rles) if len(rles) > 1 else rles[0], frame, name, drawn=how)


def _drawn_as(kind: str) -> str:
    """How a shape of a tool is drawn, see `Annotation`, from the name of its kind."""
    name = kind.lower()
    if "box" in name or "rect" in name:
        return "box"
    return "mask" if any(word in name for word in ("mask", "bitmap", "brush", "rle")) else "polygon"


def _mask(shape: Shape, draw: Draw, size: tuple[int, int], name: str) -> dict[str, Any] | None:
    from pycocotools import mask as coco

    try:
        rle = draw(size)
    except DataError as error:
        raise error if name in str(error) else DataError(f"{name}: {error}") from error
    except WRONG as error:
        raise DataError(f"{name}: not a valid {shape.kind} ({error!r}).") from error
    return rle if rle is not None and coco.area(rle) else None


def without_image(number: int, sentence: str) -> str:
    """Count the annotations of an image that does not exist as left out; returns the sentence."""
    count(number)
    leave_out("annotation without image", sentence, number)
    return sentence


__all__ = ["WRONG", "Shape", "drawn", "without_image"]
