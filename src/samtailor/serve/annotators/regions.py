"""Convert Label Studio's regions to prompts and masks, and masks to regions.

Its coordinates are percentages of the image, measured from the corner of the top-left pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

import numpy as np

from samtailor.errors import DataError, InputError
from samtailor.limits import MALFORMED
from samtailor.masks import rle as rle_masks
from samtailor.masks.polygons import outlines
from samtailor.predict.prompt import ObjectPrompt
from samtailor.serve.annotators import brush
from samtailor.serve.annotators.label_config import LabelConfig

_MAX_REGIONS = 256  # per prompt
TOLERANCE = 1.0
"""Largest distance of a polygon from the outline of the mask, pixels."""


def prompt(context: Mapping[str, Any], size: tuple[int, int]) -> tuple[ObjectPrompt, list[str]]:
    """Convert the smart regions of a click or box to a prompt.

    Args:
        context: with `result`, a list of regions.
        size: (height, width) of the image.

    Returns:
        the prompt, and the labels that were selected.

    Raises:
        InputError: there is no keypoint and no rectangle, or the context has another structure.
    """
    clicks, box, labels = [], None, []
    try:
        for region in list(context["result"])[:_MAX_REGIONS]:
            kind, value = region["type"], region["value"]
            _check_rotation(region)
            labels += [str(name) for name in value.get(kind, ()) or ()][:_MAX_REGIONS]
            if kind.startswith("keypoint"):
                positive = bool(region.get("is_positive", 1))
                clicks.append((*_click(value, size), int(positive)))
            elif kind.startswith("rectangle"):
                box = _box(value, size)
    except InputError:
        raise
    except MALFORMED as error:
        raise InputError(f"The context does not have the structure that Label Studio sends: {error!r}.") from error
    if not clicks and box is None:
        raise InputError("The context contains neither a keypoint nor a rectangle.")
    return ObjectPrompt(tuple(clicks), box), labels


def mask(region: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray | None:
    """The mask (height, width) of an annotated brush, polygon or rectangle region; None for other kinds.

    Raises:
        DataError: a region that is damaged or of an image of another size.
        InputError: a rotated rectangle.
    """
    height, width = size
    kind = "?"
    try:
        value: Any
        kind, value = str(region.get("type", "")), region.get("value") or {}
        if kind.startswith("brush") and value.get("format") == "rle":
            return brush.decode(value["rle"], height, width)
        if kind.startswith("polygon"):
            points = np.asarray(value["points"], float).reshape(-1, 2) * (width / 100, height / 100)
            rle = rle_masks.from_polygons([points.ravel().tolist()], size)
        elif kind.startswith("rectangle"):
            _check_rotation(region)
            rle = rle_masks.from_box(_box(value, size), size)
        else:
            return None
    except (DataError, InputError):
        raise
    except MALFORMED as error:
        raise DataError(f"A region of kind {kind!r:.80} cannot be read: {error!s:.200}.") from error
    return None if rle is None else _decoded(rle)


def label(region: Mapping[str, Any]) -> str | None:
    """The first label of a region.

    Raises:
        DataError: the region has another structure.
    """
    try:
        names = (region.get("value") or {}).get(region.get("type")) or ()
        return str(names[0]) if names else None
    except MALFORMED as error:
        raise DataError(f"A region has no readable label: {error!r:.200}.") from error


def from_mask(one: np.ndarray, config: LabelConfig) -> list[dict[str, Any]]:
    """Regions of a mask, without a label (see `labeled`): one brush, or a polygon per part without its holes.

    Args:
        one: bool (height, width); an empty mask has no region.
        config: selects brush or polygons.
    """
    height, width = one.shape
    if not one.any():
        return []
    if config.kind == "brushlabels":
        values: list[dict[str, Any]] = [{"format": "rle", "rle": brush.encode(one)}]
    else:
        percent = np.array([100 / width, 100 / height])
        values = [{"points": (outer * percent).tolist(), "closed": True} for outer, _ in outlines(one, TOLERANCE)]
    common = {"original_width": width, "original_height": height, "image_rotation": 0, "from_name": config.control,
              "to_name": config.image, "type": config.kind, "readonly": False}  # fmt: skip
    return [{"id": uuid4().hex[:10], **common, "value": value} for value in values]


def labeled(rows: Iterable[Mapping[str, Any]], name: str, score: float) -> list[dict[str, Any]]:
    """The regions with a label and a score."""
    return [{**row, "score": score, "value": {**row["value"], row["type"]: [name]}} for row in rows]


def _click(value: Mapping[str, Any], size: tuple[int, int]) -> tuple[float, float]:
    """Percentages to pixel indices (the center of the first pixel is 0), clipped to the image."""
    height, width = size
    x, y = _finite(value["x"]) / 100 * width - 0.5, _finite(value["y"]) / 100 * height - 0.5
    return min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)


def _box(value: Mapping[str, Any], size: tuple[int, int]) -> tuple[float, float, float, float]:
    height, width = size
    x, y, w, h = (_finite(value[key]) / 100 for key in ("x", "y", "width", "height"))
    x0, x1 = (min(max(v * width, 0.0), float(width)) for v in (x, x + w))
    y0, y1 = (min(max(v * height, 0.0), float(height)) for v in (y, y + h))
    return x0, y0, x1, y1


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"not a finite number: {number}")
    return number


def _check_rotation(region: Mapping[str, Any]) -> None:
    if region.get("image_rotation") or (region.get("value") or {}).get("rotation"):
        raise InputError("Rotated images and rotated rectangles are not supported.")


def _decoded(rle: dict[str, Any]) -> np.ndarray:
    from pycocotools import mask as coco

    return coco.decode(rle).astype(bool)


__all__ = ["TOLERANCE", "from_mask", "label", "labeled", "mask", "prompt"]
