"""Outlines of masks as polygons of K points, and back.

Pixel-index coordinates: (0, 0) is the centre of the first pixel.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from samtailor.masks import interior

radius = interior.radius


def largest(mask: np.ndarray) -> np.ndarray:
    """The longest-reaching external contour: float32 (n, 2), x then y, centres of the outermost pixels, closed.

    A mask of several components has several contours in no useful order; the one around the largest area is taken.

    Raises:
        InputError: the mask is empty or not of shape (height, width).
    """
    x0, y0, x1, y1 = interior.box(mask)
    cut = np.ascontiguousarray(mask[y0 : y1 + 1, x0 : x1 + 1], np.uint8)
    found, _ = cv2.findContours(cut, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    best = max(found, key=lambda contour: (cv2.contourArea(contour), len(contour)))
    return best.reshape(-1, 2).astype(np.float32) + np.array([x0, y0], np.float32)


def equal_steps(contour: np.ndarray, count: int) -> np.ndarray:
    """(n, 2) closed polygon to float32 (count, 2): points at equal steps of arc length from the first vertex on."""
    closed = np.concatenate([contour, contour[:1]]).astype(np.float64)
    reached = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    wanted = np.arange(count) * (reached[-1] / count)
    return np.stack([np.interp(wanted, reached, closed[:, axis]) for axis in (0, 1)], axis=1).astype(np.float32)


def resample(mask: np.ndarray, count: int) -> np.ndarray:
    """float32 (count, 2): the largest external contour at equal arc length. Of one pixel, that pixel count times.

    Raises:
        InputError: the mask is empty.
    """
    return equal_steps(largest(mask), count)


def fill(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """bool (height, width) of the polygon (K, 2), its outline included; the inverse of `largest`."""
    canvas = np.zeros((height, width), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    return canvas.astype(bool)


def ceiling(mask: np.ndarray, count: int) -> float:
    """IoU of a mask with its own `count`-point polygon: no contour method with that many points can do better.

    Extra components and holes are lost in one polygon, and that is part of the ceiling.
    """
    polygon = fill(resample(mask, count), *mask.shape)
    return float((polygon & mask).sum() / (polygon | mask).sum())


def regions(mask: np.ndarray) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Each connected component of a mask, holes filled, with its holes: bool arrays of the mask's shape."""
    for component in connected(mask, connectivity=8):
        filled = np.zeros(mask.shape, np.uint8)
        found, _ = cv2.findContours(component.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(filled, found, -1, 1, cv2.FILLED)
        yield filled.astype(bool), list(connected(filled.astype(bool) & ~component, connectivity=4))


def connected(mask: np.ndarray, *, connectivity: int = 8) -> Iterator[np.ndarray]:
    """Connected components, bool arrays of the mask's shape; neighbours are 8 pixels, or 4."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)
    for label in range(1, count):
        yield labels == label


def part_boxes(mask: np.ndarray, *, smallest: int = 1) -> np.ndarray:
    """Tight boxes of the connected components (8 neighbours), the largest component first.

    Args:
        mask: bool (height, width).
        smallest: pixels that a component must have to count.

    Returns:
        float32 (n, 4): x0, y0, x1, y1, x1 and y1 exclusive.
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    x, y, width, height, area = stats[1:].T
    boxes = np.stack([x, y, x + width, y + height], axis=1).astype(np.float32)
    order = np.argsort(-area, kind="stable")
    return boxes[order[area[order] >= smallest]]
