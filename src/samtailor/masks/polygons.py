"""Masks to polygons with a bounded number of vertices, for files that hold polygons only.

Coordinates have their origin at the corner of the top-left pixel (COCO, YOLO, labelme): the polygon of a mask runs
along the pixels' edges, so that drawing it gives the mask back. Holes and separate parts are joined to a polygon by a
cut of no width (there and back), which every even-odd filler takes for what it is.
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
    rings = [ring / 2 + corner for ring in _square(found)]
    owners = [i for i, (_, _, _, parent) in enumerate(tree[0]) if parent < 0]
    parts = [[rings[i], *(rings[j] for j, row in enumerate(tree[0]) if row[3] == i)] for i in owners]
    return sorted(parts, key=lambda part: -_area(part[0]))


def _square(traced: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Corners that point inwards, which the tracing cuts off by a diagonal step: the even place of the two is added.

    Rings (n, 1, 2) to (n', 2) float32. All at once: a ragged mask has hundreds, of a few places each.
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
    """Parts simplified until they fit the budget, cuts counted."""
    if vertices is None:
        return _simple(parts, TOLERANCE)
    if vertices < 3:
        raise InputError(f"A polygon needs at least 3 vertices, got a budget of {vertices}.")
    fine = _simple(parts, TOLERANCE)
    if _count(fine, joined) <= vertices:
        return fine
    order = _smallest_first(parts)
    fewest = bisect_left(
        range(len(order)), True, key=lambda gone: _fits(_without(parts, order[:gone]), vertices, joined)
    )
    if fewest == len(order):  # not even the last ring
        return [[_box(_without(parts, order[:-1])[0][0])[:vertices]]]
    parts = _without(parts, order[:fewest])
    fine = _simple(parts, TOLERANCE)
    if _count(fine, joined) <= vertices:
        return fine
    low, high = TOLERANCE, _coarsest(parts)
    for _ in range(10):  # to a thousandth of the span
        middle = (low + high) / 2
        fits = _count(_simple(parts, middle), joined) <= vertices
        low, high = (low, middle) if fits else (middle, high)
    return _simple(parts, high)


def _coarsest(parts: list[Part]) -> float:
    """The most that an outline may be off: a quarter of the largest side."""
    reach = max(float(np.ptp(ring, axis=0).max()) for part in parts for ring in part)
    return max(reach / 4, 2 * TOLERANCE)


def _fits(parts: list[Part], vertices: int, joined: bool) -> bool:
    return _count(_simple(parts, _coarsest(parts)), joined) <= vertices


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


def _smallest_first(parts: list[Part]) -> list[tuple[int, int]]:
    """All rings as (part, ring) in the order in which they go: the smallest first, a part after its holes."""
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


def _without(parts: list[Part], gone: Sequence[tuple[int, int]]) -> list[Part]:
    out = set(gone)
    kept = [[ring for r, ring in enumerate(part) if (p, r) not in out] for p, part in enumerate(parts)]
    return [part for part in kept if part]


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """One closed path through all rings: from the nearest vertex of the path there, round, and back."""
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


__all__ = ["TOLERANCE", "polygon", "polygons"]
