"""Run-length encoded masks (COCO) from index maps, boxes, polygons and the run lengths of annotation files.

Coordinates are in pixels with the origin at the *corner* of the top-left pixel (the convention of COCO and YOLO): the
box (0, 0, width, height) covers the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.errors import DataError


def encode(mask: np.ndarray) -> dict[str, Any]:
    """Encode a boolean mask of shape (height, width)."""
    from pycocotools import mask as coco

    return coco.encode(np.asfortranarray(mask, dtype=np.uint8))


def from_index_map(index: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
    """Masks of all values above 0 in an index map (height, width), as (value, encoding) by rising value.

    The pixels are read once, whatever the number of values.
    """
    from pycocotools import mask as coco

    height, width = index.shape
    flat = index.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    values, ends = flat[starts], np.concatenate([starts[1:], [flat.size]])
    order = np.argsort(values, kind="stable")
    order = order[np.searchsorted(values[order], 0, side="right") :]
    if not len(order):
        return
    for runs in np.split(order, np.flatnonzero(np.diff(values[order].astype(np.int64))) + 1):
        edges = np.stack([starts[runs], ends[runs]], axis=1).ravel()
        counts = np.diff(edges, prepend=0, append=flat.size)
        rle = {"size": [height, width], "counts": counts.tolist()}
        yield int(values[runs[0]]), coco.frPyObjects(rle, height, width)


def from_box(box: Sequence[float], size: tuple[int, int]) -> dict[str, Any] | None:
    """Mask of a filled box (x0, y0, x1, y1), edges rounded to whole pixels, at least one pixel wide and high.

    None if the box has no area or lies outside the image of `size` (height, width).
    """
    height, width = size
    x0, y0, x1, y1 = (float(v) for v in box)
    if not (np.isfinite([x0, y0, x1, y1]).all() and x1 > x0 and y1 > y0):
        return None
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        return None
    left, right = _span(x0, x1, width)
    top, bottom = _span(y0, y1, height)
    mask = np.zeros(size, np.uint8, order="F")
    mask[top:bottom, left:right] = 1
    return encode(mask)


def from_polygons(parts: Sequence[Sequence[float]], size: tuple[int, int]) -> dict[str, Any] | None:
    """Mask of the union of closed polygons, each (x0, y0, x1, y1, ...), as pycocotools rasterizes them.

    Polygons of fewer than three points are skipped. None if no polygon is left.

    Args:
        parts: the polygons.
        size: (height, width) of the image.
    """
    from pycocotools import mask as coco

    height, width = size
    far = 10.0 * max(size)  # pycocotools steps along every edge: bound the time of absurd coordinates
    good = [
        np.clip(np.asarray(part, float), -far, far).tolist()
        for part in parts
        if len(part) >= 6 and len(part) % 2 == 0 and np.isfinite(np.asarray(part, float)).all()
    ]
    return coco.merge(coco.frPyObjects(good, height, width)) if good else None


def validated(rle: dict[str, Any], name: Path | str) -> dict[str, Any]:
    """Check COCO run lengths, compressed or not, and return them compressed.

    Args:
        rle: {"size": [height, width], "counts": text, bytes or list of run lengths}.
        name: file and place, for the error message.

    Raises:
        DataError: not run lengths, or they do not add up to the number of pixels.
    """
    from pycocotools import mask as coco

    try:
        height, width = (int(v) for v in rle["size"])
        counts = rle["counts"]
        if isinstance(counts, str):
            counts = counts.encode("ascii")
        runs = _unpacked(counts) if isinstance(counts, bytes) else [int(v) for v in counts]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{name}: not a COCO run-length encoding ({error!r}).") from error
    if height <= 0 or width <= 0 or min(runs, default=0) < 0 or sum(runs) != height * width:
        raise DataError(f"{name}: the run lengths add up to {sum(runs)} pixels, expected {height} x {width}.")
    return coco.frPyObjects({"size": [height, width], "counts": runs}, height, width)


def _span(low: float, high: float, limit: int) -> tuple[int, int]:
    start = min(max(round(low), 0), limit - 1)
    return start, max(min(round(high), limit), start + 1)


def _unpacked(text: bytes) -> list[int]:
    """Decode COCO's compressed string: LEB128 in 5-bit digits, differences from the third run on."""
    runs: list[int] = []
    value = shift = 0
    for byte in text:
        digit = byte - 48
        if not 0 <= digit < 64:
            raise ValueError(f"unexpected byte {byte}")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the string ends inside a number")
    return runs


def to_json(rle: dict[str, Any]) -> dict[str, Any]:
    """Convert an encoding for JSON: {"size": [height, width], "counts": text}."""
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


__all__ = [
    "encode",
    "from_box",
    "from_index_map",
    "from_polygons",
    "to_json",
    "validated",
]
