"""Masks of the regions of Label Studio, for its exports and for its webhook.

Coordinates are percentages of the upright image, measured from the corner of the top-left pixel, and run lengths have
its size. `image_rotation` only describes the view in the editor: Label Studio saves all regions as if the image had not
been rotated (`web/libs/editor/src/regions` and `src/utils/canvas.js` of its repository).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

from samtailor.data.image import decode_mask
from samtailor.errors import DataError
from samtailor.masks import brush
from samtailor.masks.rle import encode, from_polygons
from samtailor.masks.shapes import from_ellipse, from_rotated_box

AREAS = ("polygon", "rectangle", "ellipse", "brush", "bitmask")
"""Kinds of regions that have an area."""


def kind(region: Mapping[str, Any]) -> str:
    """What a region is, by its value, since Label Studio names one kind of shape in several ways.

    Returns:
        one of `AREAS`, or the type of a region without area ("keypointlabels", "choices", ...).
    """
    value = region.get("value")
    if not isinstance(value, dict):
        return str(region.get("type") or "result")
    if "rle" in value:
        return "brush"
    if "radiusX" in value:
        return "ellipse"
    if "points" in value and value.get("closed", True) and "vector" not in str(region.get("type")):
        return "polygon"
    if "imageDataURL" in value:
        return "bitmask"
    is_box = {"x", "y", "width", "height"} <= value.keys()
    return "rectangle" if is_box else str(region.get("type") or "result")


def draw(kind: str, value: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    """The mask of a region, run-length encoded; None if it has no area in the image.

    Args:
        kind: one of `AREAS`.
        value: `value` of the region.
        size: (height, width) of the upright image.

    Raises:
        DataError: run lengths or a bitmask of another size, or damaged.
        KeyError, TypeError, ValueError, binascii.Error: a value that is missing or of another type.
    """
    height, width = size
    if kind == "brush":
        mask = brush.decode(value["rle"], height, width)
        return encode(mask) if mask.any() else None
    if kind == "bitmask":
        return _bitmask(str(value["imageDataURL"]), size)
    if kind == "polygon":
        points = [_scaled(point, size) for point in value["points"]]
        return from_polygons([[v for point in points for v in point]], size)
    corner = _scaled((value["x"], value["y"]), size)
    degrees = _finite(value.get("rotation") or 0)  # clockwise
    if kind == "ellipse":
        return from_ellipse(corner, _scaled((value["radiusX"], value["radiusY"]), size), size, degrees)
    sides = _scaled((value["width"], value["height"]), size)
    box = (*corner, corner[0] + sides[0], corner[1] + sides[1])
    return from_rotated_box(box, size, degrees, about=corner)


def _scaled(pair: Sequence[Any], size: tuple[int, int]) -> tuple[float, float]:
    """Two percentages, of the width and of the height, in pixels."""
    x, y = pair
    return _finite(x) / 100 * size[1], _finite(y) / 100 * size[0]


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"not a finite number: {number}")
    return number


def _bitmask(url: str, size: tuple[int, int]) -> dict[str, Any] | None:
    """A PNG as a data address, of the size of the image."""
    head, _, data = url.partition(",")
    if not head.startswith("data:image/png"):
        raise DataError("a bitmask must be a PNG as a data address.")
    mask = decode_mask(base64.b64decode(data, validate=True), "bitmask")
    if mask.shape != size:
        raise DataError(f"a bitmask of {mask.shape} (height, width) in an image of size {size}.")
    return encode(mask) if mask.any() else None


__all__ = ["AREAS", "draw", "kind"]
