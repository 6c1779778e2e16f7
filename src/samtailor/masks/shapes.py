"""Run-length encoded masks of the shapes of annotation tools: ellipses, rotated boxes, rings with holes, bitmaps.

Coordinates are in pixels with the origin at the corner of the top-left pixel, as in `masks.rle`. `size` is (height,
width) of the image. A result of None means that the shape has no pixel in the image. Memory and time are bounded by
the size of the image and the number of points, whatever the coordinates are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from samtailor.errors import DataError
from samtailor.masks.rle import encode, from_box, from_index_map, from_polygons

MAX_RINGS = 20_000
"""Largest number of rings of one shape; a ring costs time in proportion to its box."""


def from_ellipse(
    middle: Sequence[float], radii: Sequence[float], size: tuple[int, int], degrees: float = 0.0
) -> dict[str, Any] | None:
    """Mask of a filled ellipse: pixels whose center is inside.

    Args:
        middle: its center (x, y).
        radii: along its own axes (x, y).
        size: (height, width) of the image.
        degrees: clockwise rotation about its center.
    """
    (x, y), (rx, ry) = (float(v) for v in middle), (float(v) for v in radii)
    if not np.isfinite([x, y, rx, ry, degrees]).all() or rx <= 0 or ry <= 0:
        return None
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    reach = (math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos))
    window = _window((x - reach[0], y - reach[1], x + reach[0], y + reach[1]), size)
    if window is None:
        return None
    top, left, bottom, right = window
    down = np.arange(top, bottom)[:, None] + 0.5 - y
    across = np.arange(left, right)[None] + 0.5 - x
    inside = ((across * cos + down * sin) / rx) ** 2 + ((down * cos - across * sin) / ry) ** 2 <= 1
    return from_part(inside, (left, top), size)


def from_rotated_box(
    box: Sequence[float], size: tuple[int, int], degrees: float, about: Sequence[float] | None = None
) -> dict[str, Any] | None:
    """Mask of a box (x0, y0, x1, y1) rotated clockwise about a point (x, y); None is its center."""
    x0, y0, x1, y1 = (float(v) for v in box)
    if not degrees % 360:
        return from_box(box, size)
    x, y = ((x0 + x1) / 2, (y0 + y1) / 2) if about is None else (float(v) for v in about)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) - (x, y)
    turned = corners @ np.array([[cos, sin], [-sin, cos]]) + (x, y)
    return from_polygons([turned.ravel().tolist()], size)


def from_rings(rings: Sequence[Sequence[Sequence[float]]], size: tuple[int, int], name: str) -> dict[str, Any] | None:
    """Mask of rings of points (x, y), filled by the even-odd rule: a ring inside another is a hole.

    Args:
        rings: each a sequence of points; rings of fewer than three points are skipped.
        size: (height, width) of the image.
        name: file and place, for the error message.

    Raises:
        DataError: coordinates that are not numbers, or too many rings.
    """
    try:
        good = [np.asarray(ring, float).reshape(-1, 2) for ring in rings if len(ring) >= 3]
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: a ring must be a list of points (x, y) ({error}).") from error
    if len(good) > MAX_RINGS:
        raise DataError(f"{name}: a shape of {len(good)} rings; at most {MAX_RINGS} are read.")
    good = [ring for ring in good if np.isfinite(ring).all()]
    if len(good) <= 1:
        return _not_empty(from_polygons([ring.ravel().tolist() for ring in good], size))
    window = _window(_box(np.concatenate(good)), size)
    if window is None:
        return None
    top, left, bottom, right = window
    whole = np.zeros((bottom - top, right - left), bool)
    for ring in good:
        _toggle(whole, ring - (left, top))
    return from_part(whole, (left, top), size)


def _toggle(whole: np.ndarray, ring: np.ndarray) -> None:
    """Invert the pixels of `whole` inside a ring."""
    from pycocotools import mask as coco

    window = _window(_box(ring), whole.shape)
    if window is None:
        return
    top, left, bottom, right = window
    rle = from_polygons([(ring - (left, top)).ravel().tolist()], (bottom - top, right - left))
    if rle is not None:
        whole[top:bottom, left:right] ^= coco.decode(rle).astype(bool)


def from_part(part: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any] | None:
    """Mask of a bitmap whose top-left pixel is at `corner` (x, y) of the image; what lies outside is cut off.

    Args:
        part: bool (height, width).
        corner: may lie outside the image.
        size: (height, width) of the image.
    """
    left, top = corner
    x0, y0 = max(left, 0), max(top, 0)
    cut = part[max(-top, 0) : max(size[0] - top, 0), max(-left, 0) : max(size[1] - left, 0)]
    if not cut.any():
        return None
    whole = np.zeros(size, bool, order="F")
    whole[y0 : y0 + cut.shape[0], x0 : x0 + cut.shape[1]] = cut
    return encode(whole)


def from_row_runs(
    runs: Sequence[int], box: tuple[int, int, int, int], size: tuple[int, int], name: str
) -> dict[str, Any] | None:
    """Mask of run lengths in a box (left, top, width, height), row by row, background first, as CVAT stores masks.

    Raises:
        DataError: negative runs, runs that do not fill the box, or a box larger than the image.
    """
    left, top, width, height = box
    if width < 1 or height < 1 or width * height > size[0] * size[1]:
        raise DataError(f"{name}: a mask of {width}x{height} px in an image of {size[1]}x{size[0]} px.")
    lengths = _lengths(runs, width * height, name)
    values = np.arange(len(lengths)) % 2 == 1
    return from_part(np.repeat(values, lengths).reshape(height, width), (left, top), size)


def from_value_runs(runs: Sequence[int], size: tuple[int, int], name: str) -> dict[int, dict[str, Any]]:
    """Masks by value of an index map stored as value, count, value, count, ..., row by row, as V7 stores mask layers.

    Value 0 is the background.

    Raises:
        DataError: an odd number of entries, invalid values, or counts that do not add up to the number of pixels.
    """
    if len(runs) % 2:
        raise DataError(f"{name}: run lengths must be pairs of value and count, got {len(runs)} numbers.")
    values = _integers(runs[0::2], name)
    if len(values) and (values.min() < 0 or values.max() > 0xFFFF):
        raise DataError(f"{name}: values must be from 0 to 65535, got {values.min()} to {values.max()}.")
    lengths = _lengths(runs[1::2], size[0] * size[1], name)
    index = np.repeat(values.astype(np.uint16), lengths).reshape(size)
    return dict(from_index_map(index))


def _lengths(runs: Sequence[int], pixels: int, name: str) -> np.ndarray:
    lengths = _integers(runs, name)
    total = int(lengths.sum()) if len(lengths) and lengths.max() <= pixels else sum(map(int, lengths))
    if len(lengths) == 0 or lengths.min() < 0 or total != pixels:
        raise DataError(f"{name}: the run lengths add up to {total} pixels, expected {pixels}.")
    return lengths


def _integers(values: Sequence[int], name: str) -> np.ndarray:
    try:
        array = np.asarray([int(value) for value in values], np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name}: run lengths must be integers ({error}).") from error
    return array


def _box(points: np.ndarray) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def _window(box: Sequence[float], size: Sequence[int]) -> tuple[int, int, int, int] | None:
    """(top, left, bottom, right) of the whole pixels around a box, within the image; None if they do not meet."""
    x0, y0, x1, y1 = box
    height, width = size
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        return None
    top, left = max(math.floor(max(y0, 0.0)) - 1, 0), max(math.floor(max(x0, 0.0)) - 1, 0)
    return top, left, min(math.ceil(min(y1, height)) + 1, height), min(math.ceil(min(x1, width)) + 1, width)


def _not_empty(rle: dict[str, Any] | None) -> dict[str, Any] | None:
    from pycocotools import mask as coco

    return rle if rle is not None and coco.area(rle) else None


__all__ = [
    "MAX_RINGS",
    "from_ellipse",
    "from_part",
    "from_rings",
    "from_rotated_box",
    "from_row_runs",
    "from_value_runs",
]
