"""Shapes of COCO files as programs write them: ids as text, nested points, lists of run lengths, wrong crowds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from samtailor.data.account import describe
from samtailor.data.image import Header
from samtailor.data.notices import notice
from samtailor.data.placement import declared_size
from samtailor.errors import DataError, counted
from samtailor.masks.rle import from_box, from_polygons, validated

_RARE = 0.1
"""Share of crowd regions above which the flag is a habit of the program: COCO itself has 1.2 %."""


def number(value: Any) -> int | str:
    """An id, by its value: 7, 7.0 and "7" are the same id; other text is kept."""
    if isinstance(value, bool | list | dict) or value is None:
        raise DataError(f"An id must be a number or text, got {value!r}.")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    text = str(value).strip()
    return int(text) if text.isdecimal() and len(text) < 19 else text


def truth(value: Any, name: str) -> bool:
    """A flag: 0, 1, true, false, also as text.

    Raises:
        DataError: anything else.
    """
    known = {"0": False, "1": True, "false": False, "true": True, "": False, "none": False, "0.0": False, "1.0": True}
    try:
        return known[str(value).strip().lower()]
    except KeyError as error:
        raise DataError(f"{name}: iscrowd must be 0 or 1, got {value!r}.") from error


@dataclass(frozen=True)
class Crowds:
    """Whether annotations with iscrowd 1 are regions of many objects (`real`) or plain objects."""

    real: bool

    @classmethod
    def of(cls, crowd: str, entries: Sequence[Mapping[str, Any]]) -> Crowds:
        """Decide by the option `crowd`, or for "auto" by all annotations.

        In COCO, crowds are rare, and objects have polygons or run lengths without the flag. Programs for annotation
        (CVAT) write masks of single objects as run lengths with the flag. So the flag is not believed if every
        annotation has it, if it is common and all run lengths have it, or if the annotations have CVAT's attributes.
        """
        flagged = [entry for entry in entries if truth(entry.get("iscrowd", 0), f"annotation {entry.get('id')}")]
        if crowd != "auto" or not flagged:
            return cls(crowd != "objects")
        runs = [entry for entry in entries if _is_runs(entry.get("segmentation"))]
        habit = len(runs) <= len(flagged) and all(_is_runs(entry.get("segmentation")) for entry in flagged)
        share = len(flagged) / len(entries)
        cvat = any(isinstance(e.get("attributes"), dict) and "occluded" in e["attributes"] for e in flagged)
        real = not (share == 1 or (habit and (cvat or share > _RARE)))
        which = f"{counted(len(flagged), 'annotation')} of {len(entries)} with iscrowd 1"
        if real:
            describe(f"crowds: {which} are regions of many objects, no targets (crowd=objects reads them as objects)")
        else:
            why = "all run lengths have it" if share < 1 else "every annotation has it"
            message = f"{which} are read as single objects, because {why} (crowd=keep reads them as crowd regions)"
            describe(f"crowds: {message}")
            notice("iscrowd without crowds", f"{message}.")
        return cls(real)


def beyond(size: tuple[int, int] | None, entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether boxes reach beyond the stated size (height, width), but not beyond the exchanged one.

    Then the file states the size of the stored image, and its coordinates are those of the rotated one (EXIF).
    """
    if size is None or size[0] == size[1]:
        return False
    height, width = size
    right = bottom = 0.0
    for entry in entries:
        box = entry.get("bbox")
        if isinstance(box, list) and len(box) == 4 and all(_is_finite(v) for v in box):
            right, bottom = max(right, box[0] + box[2]), max(bottom, box[1] + box[3])
        for x, y in _corners(entry.get("segmentation")):
            right, bottom = max(right, x), max(bottom, y)
    return (right > width + 1 or bottom > height + 1) and right <= height + 1 and bottom <= width + 1


def mask_of(entry: Mapping[str, Any], size: tuple[int, int], frame: Header, name: str) -> dict[str, Any] | None:
    """Mask of an annotation, run-length encoded; None if it has no area in the image.

    Args:
        entry: the annotation.
        size: (height, width) that polygons and boxes refer to.
        frame: header of the image.
        name: file and annotation, for messages.

    Raises:
        DataError: no valid polygons, run lengths or box.
    """
    from pycocotools import mask as coco

    shape = entry.get("segmentation")
    runs = [shape] if isinstance(shape, dict) else shape if _is_runs(shape) else None
    if runs is not None:
        for one in runs:
            declared_size(*_pair(one.get("size")), frame, name)
        parts = [validated(one, name) for one in runs]
        if len({tuple(part["size"]) for part in parts}) > 1:
            raise DataError(f"{name}: the parts of the run lengths have different sizes.")
        return coco.merge(parts) if len(parts) > 1 else parts[0]
    try:
        polygons = _polygons(shape)
        drawn = from_polygons(polygons, size)
        if drawn is not None:
            return drawn
        box = entry.get("bbox")
        if box is None and polygons:
            return None
        x, y, width, height = (float(v) for v in box or ())
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{name}: no valid polygons, run lengths or box ({error!r}).") from error
    what = "only polygons of fewer than three points" if polygons else "no polygon"
    notice("box as mask", f"{name}: {what}, and a box, which is used as a rectangular mask.")
    return from_box((x, y, x + width, y + height), size)


def drawn_as(entry: Mapping[str, Any]) -> str:
    """How an annotation whose `mask_of` is valid is drawn, see `Annotation`."""
    shape = entry.get("segmentation")
    if isinstance(shape, dict) or _is_runs(shape):
        return "mask"
    return "polygon" if any(len(polygon) >= 6 for polygon in _polygons(shape)) else "box"


def _pair(value: Any) -> tuple[Any, Any]:
    return (value[0], value[1]) if isinstance(value, list) and len(value) == 2 else (value, value)


def _is_runs(shape: Any) -> bool:
    return (isinstance(shape, dict) and "counts" in shape) or (
        isinstance(shape, list) and bool(shape) and all(isinstance(one, dict) and "counts" in one for one in shape)
    )


def _polygons(shape: Any) -> list[list[float]]:
    """Polygons (x0, y0, x1, y1, ...) from any nesting: numbers, lists of numbers, points [x, y] or {"x", "y"}.

    Raises:
        ValueError: not lists of numbers.
    """
    if not shape:
        return []
    if not isinstance(shape, list):
        raise ValueError(f"segmentation is {str(shape)[:40]!r}")
    if all(_is_number(v) for v in shape):
        return [[float(v) for v in shape]]
    if all(_is_point(v) for v in shape):
        return [[c for point in shape for c in _point(point)]]
    if not all(isinstance(part, list) for part in shape):
        raise ValueError(f"segmentation is {str(shape)[:40]!r}")
    return [polygon for part in shape for polygon in _polygons(part)]


def _is_point(value: Any) -> bool:
    if isinstance(value, dict):
        return _is_number(value.get("x")) and _is_number(value.get("y"))
    return isinstance(value, list) and len(value) == 2 and all(_is_number(v) for v in value)


def _point(value: Any) -> tuple[float, float]:
    x, y = (value["x"], value["y"]) if isinstance(value, dict) else value
    return float(x), float(y)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) or (isinstance(value, str) and _is_finite_text(value))


def _is_finite_text(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _corners(shape: Any) -> list[tuple[float, float]]:
    """Lower right corners of the boxes around flat polygons; none for run lengths and nested points."""
    corners = []
    for part in shape if isinstance(shape, list) else ():
        if isinstance(part, list) and len(part) >= 6 and all(_is_finite(v) for v in part):
            corners.append((max(part[::2]), max(part[1::2])))
    return corners


__all__ = ["Crowds", "beyond", "mask_of", "number", "truth"]
