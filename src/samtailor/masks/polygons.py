"""Masks to polygons: exact or simplified rings with holes, or single polygons within a vertex budget.

Coordinates are (x, y) in pixels with the origin at the corner of the top-left pixel, as in COCO, YOLO, labelme and
Label Studio. Rings run along pixel edges, so that filling the exact rings restores the mask. Parts are connected
components with 8 neighbors.

A format without holes gets one closed path: `polygons` joins the hole to the outer ring by a cut of zero width (there
and back), which even-odd filling ignores.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import cv2
import numpy as np

from samtailor.errors import InputError
from samtailor.masks import interior

TOLERANCE = 0.5
"""Largest distance from the exact outline without a vertex budget, in pixels. Half a pixel removes only the stairs."""


Part = list[np.ndarray]
"""The outer ring of a part and the rings of its holes, each (n, 2)."""


def outlines(mask: np.ndarray, tolerance: float = 1.0) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Outer ring and holes of each part of a mask, largest part first; an empty list for an empty mask.

    Args:
        mask: bool (height, width).
        tolerance: largest distance from the exact outline, in pixels; 0 is exact. A ring that simplification would
            reduce to a line stays exact.

    Returns:
        rings of shape (n, 2), float64, without points on straight edges.
    """
    parts = [[_simplified(_corners(ring), tolerance) for ring in part] for part in _traced(mask)]
    parts.sort(key=lambda part: -_area(part[0].astype(np.float32)))
    return [(outer, holes) for outer, *holes in parts]


def polygons(mask: np.ndarray, vertices: int | None = None) -> list[np.ndarray]:
    """One polygon (n, 2) for each part of a mask, holes cut in, largest part first; an empty list for an empty mask.

    Args:
        mask: bool (height, width).
        vertices: largest number of vertices of all polygons together. The smallest holes and parts are dropped if
            they do not fit. None: as many as needed to stay within half a pixel of the outline.

    Raises:
        InputError: `vertices` is below 3.
    """
    return [_joined(part) for part in _within(_rings(mask), vertices, joined=False)]


def polygon(mask: np.ndarray, vertices: int | None = None) -> np.ndarray | None:
    """All parts of a mask as one polygon (n, 2); None for an empty mask. Arguments as for `polygons`."""
    parts = _within(_rings(mask), vertices, joined=True)
    return _joined([ring for part in parts for ring in part]) if parts else None


def _rings(mask: np.ndarray) -> list[Part]:
    """Exact rings of all parts, largest part first."""
    return sorted(_traced(mask), key=lambda part: -_area(part[0]))


def _traced(mask: np.ndarray) -> list[Part]:
    """Exact rings of all parts, float32, in the order of tracing; edges may carry extra points at half pixels.

    Pixels are drawn as 3 x 3 blocks on a grid of twice the resolution whose even places are the pixel corners. The
    traced outermost places of a block are its corners and edges.
    """
    if not mask.any():
        return []
    x0, y0, x1, y1 = interior.box(mask)
    grid = np.zeros((2 * (y1 - y0 + 1) + 1, 2 * (x1 - x0 + 1) + 1), np.uint8)
    grid[1::2, 1::2] = mask[y0 : y1 + 1, x0 : x1 + 1]
    grid = cv2.dilate(grid, np.ones((3, 3), np.uint8))
    contours, tree = cv2.findContours(grid, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    corner = np.array([x0, y0], np.float32)
    rings = [ring / 2 + corner for ring in _square(contours)]
    owners = [i for i, (_, _, _, parent) in enumerate(tree[0]) if parent < 0]
    return [[rings[i], *(rings[j] for j, row in enumerate(tree[0]) if row[3] == i)] for i in owners]


def _corners(ring: np.ndarray) -> np.ndarray:
    """A ring without points on straight edges, int32 (n, 2)."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return ring[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]].astype(np.int32)


def _simplified(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """Douglas-Peucker; a ring that would become a line stays as it is."""
    if tolerance <= 0:
        return ring.astype(float)
    fewer = cv2.approxPolyDP(ring[:, None], tolerance, True)[:, 0]
    return (fewer if len(fewer) >= 3 else ring).astype(float)


def _square(traced: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Restore the inward corners that tracing cuts off by a diagonal step: the even place of the two is added.

    Rings (n, 1, 2) to (n', 2) float32. All rings at once, since a ragged mask has hundreds of short ones.
    """
    ends = np.cumsum([len(ring) for ring in traced])
    places = np.concatenate(traced)[:, 0]
    after = np.roll(places, -1, axis=0)
    after[ends - 1] = places[[0, *ends[:-1]]]
    diagonal = (np.abs(after - places) == 1).all(axis=1)
    cut = np.flatnonzero(diagonal)
    whole = np.repeat(places, diagonal + 1, axis=0)
    whole[cut + np.arange(1, len(cut) + 1)] = np.where(places[cut] % 2 == 0, places[cut], after[cut])
    ends += np.cumsum(diagonal)[ends - 1]
    return np.split(whole.astype(np.float32), ends[:-1])


def _within(parts: list[Part], vertices: int | None, *, joined: bool) -> list[Part]:
    """Parts simplified until they fit the budget; cuts count as vertices."""
    if vertices is None:
        return _simple(parts, TOLERANCE)
    if vertices < 3:
        raise InputError(f"A polygon needs at least 3 vertices, got a budget of {vertices}.")
    fine = _simple(parts, TOLERANCE)
    if _count(fine, joined) <= vertices:
        return fine
    order = _smallest_first(parts)
    fewest = bisect_left(range(len(order)), True, key=lambda n: _fits(_without(parts, order[:n]), vertices, joined))
    if fewest == len(order):  # not even the last ring fits
        return [[_box(_without(parts, order[:-1])[0][0])[:vertices]]]
    parts = _without(parts, order[:fewest])
    fine = _simple(parts, TOLERANCE)
    if _count(fine, joined) <= vertices:
        return fine
    low, high = TOLERANCE, _coarsest(parts)
    for _ in range(10):  # to 1/1024 of the range
        middle = (low + high) / 2
        fits = _count(_simple(parts, middle), joined) <= vertices
        low, high = (low, middle) if fits else (middle, high)
    return _simple(parts, high)


def _coarsest(parts: list[Part]) -> float:
    """Largest tolerance to try: a quarter of the longest side of any ring."""
    reach = max(float(np.ptp(ring, axis=0).max()) for part in parts for ring in part)
    return max(reach / 4, 2 * TOLERANCE)


def _fits(parts: list[Part], vertices: int, joined: bool) -> bool:
    return _count(_simple(parts, _coarsest(parts)), joined) <= vertices


def _simple(parts: list[Part], tolerance: float) -> list[Part]:
    """Douglas-Peucker. An outer ring that becomes a line is replaced by its box; such a hole is dropped."""
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


def _smallest_first(parts: list[Part]) -> list[tuple[int, int]]:
    """All rings as (part, ring) in the order of removal: the smallest first, a part after its holes."""
    areas = [[_area(ring) for ring in part] for part in parts]
    holes = [len(part) - 1 for part in parts]
    ready = [(areas[p][r], p, r) for p, part in enumerate(parts) for r in range(len(part)) if r or not holes[p]]
    heapify(ready)
    order = []
    while ready:
        _, p, r = heappop(ready)
        order.append((p, r))
        holes[p] -= r > 0
        if r and not holes[p]:
            heappush(ready, (areas[p][0], p, 0))
    return order


def _without(parts: list[Part], dropped: Sequence[tuple[int, int]]) -> list[Part]:
    gone = set(dropped)
    kept = [[ring for r, ring in enumerate(part) if (p, r) not in gone] for p, part in enumerate(parts)]
    return [part for part in kept if part]


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """One closed path through all rings: each is entered from the nearest vertex of the path, which is then resumed."""
    path = rings[0]
    for ring in rings[1:]:
        apart = (path[:, :1] - ring[:, 0]) ** 2 + (path[:, 1:] - ring[:, 1]) ** 2
        i, j = np.unravel_index(int(apart.argmin()), apart.shape)
        path = np.concatenate([path[: i + 1], ring[j:], ring[: j + 1], path[i:]])
    return path


def _box(ring: np.ndarray) -> np.ndarray:
    (x0, y0), (x1, y1) = ring.min(axis=0), ring.max(axis=0)
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def _area(ring: np.ndarray) -> float:
    return abs(float(cv2.contourArea(ring)))


__all__ = ["TOLERANCE", "outlines", "polygon", "polygons"]
