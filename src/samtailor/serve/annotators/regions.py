"""Convert Label Studio's regions to prompts and masks, and masks to regions.

Its coordinates are percentages of the image, measured from the corner of the top-left pixel.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

import numpy as np

from samtailor.data import studio_regions
from samtailor.errors import DataError, InputError
from samtailor.limits import MALFORMED
from samtailor.masks import brush
from samtailor.masks.polygons import outlines
from samtailor.predict.prompt import ObjectPrompt
from samtailor.serve.annotators.label_config import LabelConfig

_MAX_REGIONS = 256  # per prompt
_WITHOUT_AREA = ("keypoint", "choices", "textarea", "rating", "number", "taxonomy", "datetime", "relation", "pairwise",
                 "ranker", "hypertext")  # fmt: skip
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
            _refuse_rotated_box(value)
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


def objects(regions: Iterable[Any], size: tuple[int, int]) -> tuple[list[tuple[str, np.ndarray]], Counter[str]]:
    """The objects of an annotation: class and mask (height, width) of each brush, polygon, rectangle and ellipse.

    A region with several labels is an object of each class.

    Args:
        regions: `result` of an annotation.
        size: (height, width) of the image.

    Returns:
        the objects, and the number of regions without area (keypoints, choices, texts, empty masks) by reason.

    Raises:
        InputError: a region with an area that cannot be read as a mask: another kind, or no label.
            Without it the object would count as background.
        DataError: a region that is damaged or of an image of another size.
    """
    listed: list[Mapping[str, Any]] = []
    for region in regions:
        if not isinstance(region, Mapping):
            raise DataError(f"A region must be an object, got {type(region).__name__}.")
        listed.append(region)
    by_id: dict[Any, list[str]] = {}
    for region in listed:  # the tags Labels and Brush, Polygon, ... make a region each, with the same id
        if region.get("type") == "labels":
            by_id.setdefault(str(region.get("id")), []).extend(labels(region))
    made: list[tuple[str, np.ndarray]] = []
    skipped: Counter[str] = Counter()
    for region in listed:
        kind = str(region.get("type", ""))
        if kind == "labels":
            continue
        if kind.startswith(_WITHOUT_AREA):
            skipped[f"{kind}: no area"] += 1
            continue
        one, names = mask(region, size), labels(region) or by_id.get(str(region.get("id")), [])
        if one is None or not one.any():
            skipped[f"{kind}: empty"] += 1
        elif not names:
            raise InputError(f"A region of the kind {kind!r} has no label. Choose a label for every region.")
        else:
            made += [(name, one) for name in dict.fromkeys(names)]
    return made, skipped


def mask(region: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray | None:
    """The mask (height, width) of a region, see `data.studio_regions`; None if it has no area in the image.

    Raises:
        DataError: a region that is damaged or of an image of another size.
        InputError: a region of another kind.
    """
    shown = "?"
    try:
        shown, kind = str(region.get("type", ""))[:80], studio_regions.kind(region)
        if kind in studio_regions.AREAS:
            rle = studio_regions.draw(kind, region["value"], size)
        elif shown.startswith(studio_regions.AREAS):
            raise DataError(f"A region of the kind {shown!r} cannot be read: its value holds no such shape.")
        else:
            raise InputError(
                f"Regions of the kind {shown!r} are not supported. Use brush, polygon, rectangle or ellipse labels."
            )
    except (DataError, InputError):
        raise
    except MALFORMED as error:
        raise DataError(f"A region of the kind {shown!r} cannot be read: {error!s:.200}.") from error
    return None if rle is None else _decoded(rle)


def labels(region: Mapping[str, Any]) -> list[str]:
    """The labels of a region.

    Raises:
        DataError: they are not a list of names.
    """
    if not isinstance(region, Mapping):
        raise DataError(f"A region must be an object with a type and a value, got {region!r:.80}.")
    value = region.get("value") or {}
    names = value.get(str(region.get("type"))) if isinstance(value, Mapping) else None
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise DataError(f"The labels of a region must be a list of names, got {names!r:.80}.")
    return list(names or ())


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


def _refuse_rotated_box(value: Mapping[str, Any]) -> None:
    if value.get("rotation"):
        raise InputError("Rotated rectangles are no prompts. Draw the rectangle without rotation.")


def _decoded(rle: dict[str, Any]) -> np.ndarray:
    from pycocotools import mask as coco

    return coco.decode(rle).astype(bool)


__all__ = ["TOLERANCE", "from_mask", "labeled", "labels", "mask", "objects", "prompt"]
