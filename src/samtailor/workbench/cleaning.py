"""Clean-up of one mask: fill its holes, drop crumbs, smooth its outline, split it into parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from samtailor.masks.postprocess import connected_parts, postprocessed
from samtailor.masks.rle import encode, to_json
from samtailor.registry import choose
from samtailor.structures.postprocess import Postprocess

CRUMB = 0.05
"""Parts smaller than this share of the largest part are crumbs."""
MAX_PARTS = 200
"""Largest number of objects that a mask is split into; the smallest parts join the last one."""
_SMOOTHING = 0.02  # standard deviation of the blur, in diameters of the object
_LEAST_SMOOTHING = 1.0  # pixels


def clean(mask: np.ndarray, operation: str) -> list[np.ndarray]:
    """Apply one operation.

    Args:
        mask: bool (height, width), not empty.
        operation: "fill", "crumbs", "smooth" or "split".

    Returns:
        One mask of the same size; for "split" one per connected part, the largest first.

    Raises:
        InputError: an unknown operation.
    """
    work = _OPERATIONS[choose("operation", operation, tuple(_OPERATIONS))]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    margin = 2 + int(4 * _sigma(mask)) if operation == "smooth" else 1
    top, bottom = max(0, rows[0] - margin), min(mask.shape[0], rows[-1] + 1 + margin)
    left, right = max(0, columns[0] - margin), min(mask.shape[1], columns[-1] + 1 + margin)
    results = []
    for part in work(np.ascontiguousarray(mask[top:bottom, left:right])):
        whole = np.zeros_like(mask)
        whole[top:bottom, left:right] = part
        results.append(whole)
    return results


def cleaned_to_json(mask: np.ndarray, operation: str) -> list[dict[str, Any]]:
    """Run lengths of the results of `clean`."""
    return [to_json(encode(one)) for one in clean(mask, operation)]


def _fill(mask: np.ndarray) -> list[np.ndarray]:
    return [postprocessed(mask, Postprocess(fill_holes=1.0))]


def _crumbs(mask: np.ndarray) -> list[np.ndarray]:
    return [postprocessed(mask, Postprocess(crumbs=CRUMB))]


def _smooth(mask: np.ndarray) -> list[np.ndarray]:
    # the image border continues the mask, so that an object at the border keeps touching it
    blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _sigma(mask), borderType=cv2.BORDER_REPLICATE)
    smooth = blurred > 0.5
    return [smooth if smooth.any() else mask]


def _split(mask: np.ndarray) -> list[np.ndarray]:
    labels, areas = connected_parts(mask)
    order = np.argsort(-areas[1:], kind="stable") + 1
    parts = [labels == label for label in order[: MAX_PARTS - 1]]
    rest = order[MAX_PARTS - 1 :]
    return [*parts, np.isin(labels, rest)] if len(rest) else parts


def _sigma(mask: np.ndarray) -> float:
    return max(_LEAST_SMOOTHING, _SMOOTHING * float(np.sqrt(4 * mask.sum() / np.pi)))


_OPERATIONS: dict[str, Callable[[np.ndarray], list[np.ndarray]]] = {
    "fill": _fill,
    "crumbs": _crumbs,
    "smooth": _smooth,
    "split": _split,
}


__all__ = ["CRUMB", "MAX_PARTS", "clean", "cleaned_to_json"]
