"""Masks to polygons with a bounded number of vertices, for files that hold polygons only.

Coordinates have their origin at the corner of the top-left pixel (COCO, YOLO, labelme): the polygon of a mask runs
along the pixels' edges, so that drawing it gives the mask back. Holes and separate parts are joined to a polygon by a
cut of no width (there and back), which every even-odd filler takes for what it is.
"""

from __future__ import annotations

import cv2
import numpy as np

from samtailor import interior
from samtailor.errors import InputError

TOLERANCE = 0.5
"""Pixels that an outline may be off without a budget: half a pixel takes the stairs off and little else."""


def polygons(mask: np.ndarray, vertices: int | None = None) -> list[np.ndarray]:
    """One polygon (n, 2) for each connected part of a mask, holes cut in, largest part first; none for an empty mask.

    Args:
        mask: bool (height, width).
        vertices: at most so many in all polygons together; the smallest holes and parts go when they do not fit.
            None: as many as keep the outline within half a pixel.

    Raises:
        InputError: fewer than 3 vertices.
    """
    return [_joined(part) for part in _within(_rings(mask), vertices, joined=False)]


def polygon(mask: np.ndarray, vertices: int | None = None) -> np.ndarray | None:
    """All parts of a mask as one polygon (n, 2); None for an empty mask. Arguments as of `polygons`."""
    parts = _within(_rings(mask), vertices, joined=True)
    return _joined([ring for part in parts for ring in part]) if parts else None


Part = list[np.ndarray]
"""The outline of a connected part and of its holes, each (n, 2)."""


def _rings(mask: np.ndarray) -> list[Part]:
    """Closed outlines along the pixels' edges.

    Pixels are drawn as 3 x 3 blocks on a grid of twice the resolution whose even places are the pixels' corners: the
    outermost places of a block are its corners and edges.
    """
    if not mask.any():
        return []
    x0, y0, x1, y1 = interior.box(mask)
    grid = np.zeros((2 * (y1 - y0 + 1) + 1, 2 * (x1 - x0 + 1) + 1), np.uint8)
    grid[1::2, 1::2] = mask[y0 : y1 + 1, x0 : x1 + 1]
    grid = cv2.dilate(grid, np.ones((3, 3), np.uint8))
    found, tree = cv2.findContours(grid, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    corner = np.array([x0, y0], np.float32)
    rings = [_square(ring.reshape(-1, 2)).astype(np.float32) / 2 + corner for ring in found]
    owners = [i for i, (_, _, _, parent) in enumerate(tree[0]) if parent < 0]
    parts = [[rings[i], *(rings[j] for j, row in enumerate(tree[0]) if row[3] == i)] for i in owners]
    return sorted(parts, key=lambda part: -_area(part[0]))


def _square(ring: np.ndarray) -> np.ndarray:
    """Corners that point inwards, which the tracing cuts off by a diagonal step: the even place of the two is added."""
    after = np.concatenate([ring[1:], ring[:1]])
    diagonal = (np.abs(after - ring) == 1).all(axis=1)
    places = np.flatnonzero(diagonal)
    whole = np.repeat(ring, diagonal + 1, axis=0)
    one = ring[places]
    whole[places + np.arange(1, len(places) + 1)] = np.where(one % 2 == 0, one, after[places])
    return whole


def _within(parts: list[Part], vertices: int | None, *, joined: bool) -> list[Part]:
    """Parts simplified until they fit the budget, cuts counted."""
    if vertices is None:
        return _simple(parts, TOLERANCE)
    if vertices < 3:
        raise InputError(f"A polygon needs at least 3 vertices, got a budget of {vertices}.")
    while parts:
        reach = max(float(np.ptp(ring, axis=0).max()) for part in parts for ring in part)
        low, high = TOLERANCE, max(reach / 4, 2 * TOLERANCE)
        if _count(_simple(parts, low), joined) <= vertices:
            return _simple(parts, low)
        if _count(_simple(parts, high), joined) <= vertices:
            for _ in range(10):  # to a thousandth of the span
                middle = (low + high) / 2
                fits = _count(_simple(parts, middle), joined) <= vertices
                low, high = (low, middle) if fits else (middle, high)
            return _simple(parts, high)
        if sum(len(part) for part in parts) == 1:
            return [[_box(parts[0][0])[:vertices]]]
        parts = _without_smallest(parts)
    return []


def _simple(parts: list[Part], tolerance: float) -> list[Part]:
    """Douglas-Peucker; what shrinks to a line stays as its box, holes that do so go."""
    result = []
    for outer, *holes in parts:
        fewer = [cv2.approxPolyDP(ring, tolerance, True).reshape(-1, 2) for ring in (outer, *holes)]
        first = fewer[0] if len(fewer[0]) > 2 else _box(outer)
        result.append([first, *(ring for ring in fewer[1:] if len(ring) > 2)])
    return result


def _count(parts: list[Part], joined: bool) -> int:
    rings = [ring for part in parts for ring in part]
    cuts = len(rings) - (1 if joined else len(parts))
    return sum(len(ring) for ring in rings) + 2 * cuts


def _without_smallest(parts: list[Part]) -> list[Part]:
    """The smallest hole goes, or the smallest part where it is smaller (the last hole of a part before the part)."""
    rings = [(_area(ring), p, r) for p, part in enumerate(parts) for r, ring in enumerate(part)]
    _, p, r = min(row for row in rings if row[2] > 0 or len(parts[row[1]]) == 1)
    kept = [ring for i, ring in enumerate(parts[p]) if i != r]
    return [*parts[:p], *([kept] if kept else []), *parts[p + 1 :]]


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """One closed path through all rings: from the nearest vertex of the path there, round, and back."""
    path = rings[0]
    for ring in rings[1:]:
        apart = ((path[:, None] - ring[None]) ** 2).sum(axis=2)
        i, j = np.unravel_index(int(apart.argmin()), apart.shape)
        path = np.concatenate([path[: i + 1], ring[j:], ring[: j + 1], path[i:]])
    return path


def _box(ring: np.ndarray) -> np.ndarray:
    (x0, y0), (x1, y1) = ring.min(axis=0), ring.max(axis=0)
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def _area(ring: np.ndarray) -> float:
    return abs(float(cv2.contourArea(ring)))


__all__ = ["TOLERANCE", "polygon", "polygons"]
