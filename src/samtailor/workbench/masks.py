"""Masks as they travel to the page and back: run lengths of what a decoder answers, polygons and their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.masks.rle import encode
from samtailor.masks.rle import to_json as rle_to_json
from samtailor.predict.windows import Windows
from samtailor.structures import Output

CORNERS = 200_000
"""Of all polygons of one object."""


def candidates(output: Output, frame: Frame, *, every: bool, row: int = 0) -> list[dict[str, Any]]:
    """Masks of one prompt as JSON, by falling predicted IoU.

    Args:
        output: of the decoder.
        frame: geometry of the image.
        every: all candidates; else the best.
        row: which prompt.
    """
    logits = output.candidate_logits()[0, row].float().cpu()
    scores = output.candidate_iou()[0, row].float().cpu()
    wanted = scores.argsort(descending=True).tolist()
    windows = Windows()
    return [told(*windows.mask(logits[i], frame), frame, float(scores[i])) for i in wanted[: None if every else 1]]


def told(mask: np.ndarray, x: int, y: int, frame: Frame, score: float) -> dict[str, Any]:
    """A mask within a window of the image as `shape`, with its predicted IoU."""
    found = shape(placed(mask, x, y, (frame.height, frame.width)))
    return {**found, "predicted_iou": round(min(max(score, 0.0), 1.0), 6)}


def shape(mask: np.ndarray) -> dict[str, Any]:
    """A mask (height, width) as JSON: run lengths, area, and a tight box, x1 and y1 exclusive, None when empty."""
    rle = encode(mask)
    x, y, width, height = (int(v) for v in _coco().toBbox(rle))
    count = int(_coco().area(rle))
    return {"rle": rle_to_json(rle), "area": count, "box": [x, y, x + width, y + height] if count else None}


def placed(mask: np.ndarray, x: int, y: int, size: tuple[int, int]) -> np.ndarray:
    """A window's mask in a whole image of (height, width), columns together in memory as run lengths want them."""
    whole = np.zeros(size, np.uint8, order="F")
    whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return whole


def rasterise(polygons: Sequence[tuple[np.ndarray, Sequence[np.ndarray]]], size: tuple[int, int]) -> np.ndarray:
    """bool (height, width): pixels whose centre lies in one of the polygons, and not in its holes (even-odd rule).

    The inverse of `masks.polygons.outlines` with tolerance 0, to the pixel.

    Args:
        polygons: outer ring and holes, each (n, 2), x then y, (0, 0) being the corner of the top-left pixel.
        size: (height, width).

    Raises:
        InputError: a ring of fewer than three points, numbers that are not finite, or too many points.
    """
    rings = [ring for outer, holes in polygons for ring in (outer, *holes)]
    if sum(len(ring) for ring in rings) > CORNERS:
        raise InputError(f"Polygons may have {CORNERS:,} points together.")
    if any(ring.ndim != 2 or ring.shape[1:] != (2,) or len(ring) < 3 or not np.isfinite(ring).all() for ring in rings):
        raise InputError("A polygon needs at least three points (x, y) of finite numbers.")
    whole = np.zeros(size, bool)
    for outer, holes in polygons:
        turns = np.zeros((size[0], size[1] + 1), bool)
        for ring in (outer, *holes):
            _cross(turns, ring)
        whole |= np.logical_xor.accumulate(turns, axis=1)[:, :-1]
    return whole


def _cross(turns: np.ndarray, ring: np.ndarray) -> None:
    """Flip, in each row, the first pixel whose centre lies right of where an edge crosses the row's middle."""
    height, width = turns.shape[0], turns.shape[1] - 1
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        low, high = min(y0, y1), max(y0, y1)
        rows = np.arange(max(0, int(np.ceil(low - 0.5))), min(height, int(np.ceil(high - 0.5))))
        if len(rows):
            crossing = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.intp)
            turns[rows, columns] ^= True


def _coco() -> Any:
    from pycocotools import mask

    return mask


__all__ = ["candidates", "placed", "rasterise", "shape", "told"]
