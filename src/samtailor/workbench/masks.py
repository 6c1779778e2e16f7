"""Masks as JSON for the page: run lengths of the decoder's candidate masks; polygons to masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.masks.rle import encode, validated
from samtailor.masks.rle import to_json as rle_to_json

if TYPE_CHECKING:
    from samtailor.workbench.records import Runs

FARTHEST = 10**12
"""Largest absolute coordinate of a polygon, pixels."""
MAX_POINTS = 200_000
"""Largest number of polygon points of one object."""


def candidate_to_json(mask: np.ndarray, x: int, y: int, frame: Frame, score: float) -> dict[str, Any]:
    """`mask_to_json` of a mask within a window at (x, y) of the image, with its predicted IoU in [0, 1]."""
    whole = paste(mask, x, y, (frame.height, frame.width))
    return {**mask_to_json(whole), "predicted_iou": round(min(max(score, 0.0), 1.0), 6)}


def mask_to_json(mask: np.ndarray) -> dict[str, Any]:
    """A mask (height, width) as JSON: run lengths, area in pixels and tight box.

    The box is (x0, y0, x1, y1) with x1 and y1 exclusive; None for an empty mask.
    """
    rle = encode(mask)
    x, y, width, height = (int(v) for v in _coco().toBbox(rle))
    area = int(_coco().area(rle))
    return {"rle": rle_to_json(rle), "area": area, "box": [x, y, x + width, y + height] if area else None}


def mask_of_runs(runs: Runs, size: tuple[int, int], what: str = "mask", field: str = "rle") -> np.ndarray:
    """bool (height, width) of run lengths that the page sends for an image.

    Args:
        runs: the run lengths.
        size: (height, width) of the image.
        what, field: what the mask is, and where it stands in the request, for messages.

    Raises:
        InputError: the mask has another size than the image.
        DataError: the run lengths are not valid.
    """
    if runs.size != size:
        raise InputError(f"The {what} has size {runs.size}, expected {size} (its image).")
    return _coco().decode(validated(runs.model_dump(), field)).astype(bool)


def paste(mask: np.ndarray, x: int, y: int, size: tuple[int, int]) -> np.ndarray:
    """uint8 mask of an image of (height, width) from a mask within a window at (x, y).

    Column-major in memory, as run-length encoding needs it.
    """
    whole = np.zeros(size, np.uint8, order="F")
    whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return whole


def rasterize(polygons: Sequence[tuple[np.ndarray, Sequence[np.ndarray]]], size: tuple[int, int]) -> np.ndarray:
    """bool (height, width): pixels whose center lies in one of the polygons and not in its holes (even-odd rule).

    The exact inverse of `masks.polygons.outlines` with tolerance 0.

    Args:
        polygons: outer ring and holes, each (n, 2), x then y; (0, 0) is the corner of the top-left pixel.
        size: (height, width).

    Raises:
        InputError: a ring of fewer than three points, values that are not finite or far away, or too many points.
    """
    rings = [ring for outer, holes in polygons for ring in (outer, *holes)]
    if sum(len(ring) for ring in rings) > MAX_POINTS:
        raise InputError(f"Polygons may have at most {MAX_POINTS:,} points in total.")
    if any(ring.ndim != 2 or ring.shape[1:] != (2,) or len(ring) < 3 or not np.isfinite(ring).all() for ring in rings):
        raise InputError("A polygon needs at least three points (x, y) with finite coordinates.")
    if any(np.abs(ring).max() > FARTHEST for ring in rings):
        raise InputError(f"Coordinates of a polygon must be between -{FARTHEST:,} and {FARTHEST:,}.")
    whole = np.zeros(size, bool)
    for outer, holes in polygons:
        toggles = np.zeros((size[0], size[1] + 1), bool)
        for ring in (outer, *holes):
            _toggle_edges(toggles, ring)
        whole |= np.logical_xor.accumulate(toggles, axis=1)[:, :-1]
    return whole


def _toggle_edges(toggles: np.ndarray, ring: np.ndarray) -> None:
    """Flip, in each row, the first pixel whose center lies right of an edge's crossing with the row's middle."""
    height, width = toggles.shape[0], toggles.shape[1] - 1
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        low, high = min(y0, y1), max(y0, y1)
        rows = np.arange(max(0, int(np.ceil(low - 0.5))), min(height, int(np.ceil(high - 0.5))))
        if len(rows):
            crossing = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.intp)
            toggles[rows, columns] ^= True


def _coco() -> Any:
    from pycocotools import mask

    return mask


__all__ = ["MAX_POINTS", "candidate_to_json", "mask_to_json", "paste", "rasterize"]
