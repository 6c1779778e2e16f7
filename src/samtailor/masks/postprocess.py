"""Apply a `Postprocess` to a mask: smooth its outline, fill holes, drop small parts, make rectangles.

Parts are connected by edges or corners (8 neighbors), holes by edges (4 neighbors).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from samtailor.masks import interior
from samtailor.masks.contours import part_boxes
from samtailor.masks.rle import encode
from samtailor.structures import RunLengths
from samtailor.structures.postprocess import Postprocess

_REACH = 3.0  # sigmas beyond which smoothing adds nothing
Window = tuple[np.ndarray, int, int]
"""A part of a mask, bool, and its first column x and row y in the image."""


def postprocessed(mask: np.ndarray, how: Postprocess, *, never_empty: bool = False) -> np.ndarray:
    """A mask after postprocessing, bool (height, width); the same object if there is nothing to do.

    Args:
        mask: bool (height, width), the whole image.
        how: what to do.
        never_empty: keep the largest part even if it is smaller than `min_area`.
    """
    if how.nothing or not mask.any():
        return mask
    size = (mask.shape[0], mask.shape[1])
    part, x, y = postprocessed_window((mask, 0, 0), how, size, never_empty=never_empty)
    full = np.zeros(size, bool)
    full[y : y + part.shape[0], x : x + part.shape[1]] = part
    return full


def postprocessed_window(
    window: Window, how: Postprocess, size: tuple[int, int], *, never_empty: bool = False
) -> Window:
    """`postprocessed` of a mask of which only a window is given; equal to that of the whole mask.

    Args:
        window: contains every pixel of the mask.
        how: what to do.
        size: (height, width) of the image.
        never_empty: as of `postprocessed`.

    Returns:
        a window around the result; an empty one at (0, 0) if nothing is left.
    """
    mask, x, y = window
    if how.nothing or not mask.any():
        return window
    x0, y0, x1, y1 = interior.box(mask)
    mask, x, y = mask[y0 : y1 + 1, x0 : x1 + 1], x + x0, y + y0
    if how.smoothing:
        mask, x, y = _smoothed(mask, x, y, how.smoothing, size)
        if not mask.any():
            return window if never_empty else (np.zeros((0, 0), bool), 0, 0)
    mask = _filled(mask, how.fill_holes) if how.fill_holes else mask
    mask = _large_parts(mask, how, size[0] * size[1], never_empty)
    mask = _boxes(mask) if how.rectangles else mask
    return (mask, x, y) if mask.any() else (np.zeros((0, 0), bool), 0, 0)


def postprocessed_runs(one: RunLengths, how: Postprocess) -> dict[str, object] | None:
    """Run lengths of a mask after postprocessing; None if no pixel is left."""
    mask = postprocessed(one.mask, how)
    return encode(mask) if mask.any() else None


def _smoothed(mask: np.ndarray, x: int, y: int, share: float, size: tuple[int, int]) -> Window:
    """Blurred and cut at one half; beyond the border of the image the mask continues as it is there."""
    sigma = share * math.sqrt(int(connected_parts(mask)[1].max()) / math.pi)
    if sigma < 0.3:  # a Gaussian that narrow changes no pixel
        return mask, x, y
    margin, (height, width) = math.ceil(_REACH * sigma), size
    left, top = min(margin, x), min(margin, y)
    right, bottom = min(margin, width - x - mask.shape[1]), min(margin, height - y - mask.shape[0])
    wide = np.pad(mask.astype(np.float32), ((top, bottom), (left, right)))
    kernel = 2 * margin + 1
    blurred = cv2.GaussianBlur(wide, (kernel, kernel), sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred > 0.5, x - left, y - top


def _filled(mask: np.ndarray, share: float) -> np.ndarray:
    """With its small holes filled; background that reaches the edge of the window is no hole."""
    labels, areas = connected_parts(~np.pad(mask, 1), connectivity=4)
    largest = share * np.count_nonzero(mask) if share < 1 else math.inf
    areas[labels[0, 0]] = 0
    return mask | _chosen(labels, (areas > 0) & (areas <= largest))[1:-1, 1:-1]


def _large_parts(mask: np.ndarray, how: Postprocess, image_area: int, never_empty: bool) -> np.ndarray:
    if not (how.crumbs or how.min_area or how.one_component):
        return mask
    labels, areas = connected_parts(mask)
    kept = areas >= max(1.0, how.crumbs * areas.max(), how.min_area * image_area)
    largest = int(areas.argmax())
    if how.one_component:
        kept &= np.arange(len(areas)) == largest
    kept[largest] |= never_empty
    return _chosen(labels, kept)


def _boxes(mask: np.ndarray) -> np.ndarray:
    """The filled bounding box of each part."""
    boxes = np.zeros_like(mask)
    for x0, y0, x1, y1 in part_boxes(mask).astype(int):
        boxes[y0:y1, x0:x1] = True
    return boxes


def connected_parts(mask: np.ndarray, connectivity: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the connected parts, and the area of each; label 0 is the rest, whose area counts as 0."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    areas[0] = 0
    return labels, areas


def _chosen(labels: np.ndarray, kept: Sequence[bool] | np.ndarray) -> np.ndarray:
    return np.asarray(kept, bool)[labels]


__all__ = ["Window", "connected_parts", "postprocessed", "postprocessed_runs", "postprocessed_window"]
