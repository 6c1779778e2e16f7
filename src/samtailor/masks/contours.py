"""Outlines of masks as polygons of K points and back, for contour methods (PMM); and connected components.

Pixel-index coordinates: (0, 0) is the center of the first pixel, and a contour runs through the centers of the
outermost pixels, as OpenCV traces it and as PMM was trained. The polygons of annotation files run along pixel edges
instead, half a pixel further out, hence `masks.polygons` traces its rings separately.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from samtailor.masks import interior

_FILLED = 0.98  # of its bounding box, from which a mask is a rectangle

radius = interior.radius


def largest(mask: np.ndarray) -> np.ndarray:
    """The external contour around the largest area: float32 (n, 2), x then y, centers of the outermost pixels, closed.

    Raises:
        InputError: the mask is empty or not of shape (height, width).
    """
    x0, y0, x1, y1 = interior.box(mask)
    cut = np.ascontiguousarray(mask[y0 : y1 + 1, x0 : x1 + 1], np.uint8)
    contours, _ = cv2.findContours(cut, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    best = max(contours, key=lambda contour: (cv2.contourArea(contour), len(contour)))
    return best.reshape(-1, 2).astype(np.float32) + np.array([x0, y0], np.float32)


def equal_steps(contour: np.ndarray, count: int) -> np.ndarray:
    """Resample a closed polygon (n, 2) at equal steps of arc length from its first vertex: float32 (count, 2)."""
    closed = np.concatenate([contour, contour[:1]]).astype(np.float64)
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    steps = np.arange(count) * (length[-1] / count)
    return np.stack([np.interp(steps, length, closed[:, axis]) for axis in (0, 1)], axis=1).astype(np.float32)


def resample(mask: np.ndarray, count: int) -> np.ndarray:
    """The largest external contour at equal steps of arc length: float32 (count, 2). One pixel is repeated.

    Raises:
        InputError: the mask is empty.
    """
    return equal_steps(largest(mask), count)


def fill(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Fill a polygon (K, 2), outline included: bool (height, width). The inverse of `largest`."""
    canvas = np.zeros((height, width), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    return canvas.astype(bool)


def ceiling(mask: np.ndarray, count: int) -> float:
    """Upper bound of a contour method with `count` points: IoU of a mask with its own polygon.

    One polygon has no holes and no further components; this loss is part of the bound.
    """
    polygon = fill(resample(mask, count), *mask.shape)
    return float((polygon & mask).sum() / (polygon | mask).sum())


def components_with_holes(mask: np.ndarray) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Connected components (8 neighbors), holes filled, each with its holes: bool arrays of the mask's shape."""
    for component in connected(mask, connectivity=8):
        filled = np.zeros(mask.shape, np.uint8)
        contours, _ = cv2.findContours(component.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(filled, contours, -1, 1, cv2.FILLED)
        yield filled.astype(bool), list(connected(filled.astype(bool) & ~component, connectivity=4))


def connected(mask: np.ndarray, *, connectivity: int = 8) -> Iterator[np.ndarray]:
    """Connected components as bool arrays of the mask's shape; `connectivity` is 4 or 8 neighbors."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)
    for label in range(1, count):
        yield labels == label


def part_means(mask: np.ndarray, values: np.ndarray) -> list[float]:
    """Mean value of each connected component (8 neighbors), in the order of `connected`.

    Args:
        mask: bool (height, width).
        values: float (height, width).
    """
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    sums = np.bincount(labels.ravel(), weights=values.ravel(), minlength=count)
    areas = np.bincount(labels.ravel(), minlength=count)
    return (sums[1:] / areas[1:]).tolist()


def is_rectangle(mask: np.ndarray) -> bool:
    """Whether a mask (bool, not empty) fills nearly all of its bounding box."""
    x0, y0, x1, y1 = interior.box(mask)
    return float(mask[y0 : y1 + 1, x0 : x1 + 1].mean()) > _FILLED


def part_boxes(mask: np.ndarray, *, smallest: int = 1) -> np.ndarray:
    """Tight boxes of the connected components (8 neighbors), largest component first.

    Args:
        mask: bool (height, width).
        smallest: components with fewer pixels are left out.

    Returns:
        float32 (n, 4): x0, y0, x1, y1; x1 and y1 are exclusive.
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    x, y, width, height, area = stats[1:].T
    boxes = np.stack([x, y, x + width, y + height], axis=1).astype(np.float32)
    order = np.argsort(-area, kind="stable")
    return boxes[order[area[order] >= smallest]]
