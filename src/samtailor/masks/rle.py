"""Run-length encoded masks (COCO) from index maps, boxes, polygons and the run lengths of annotation files.

Coordinates are in pixels with the origin at the *corner* of the top-left pixel (the convention of COCO and YOLO): the
box (0, 0, width, height) covers the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.errors import DataError
from samtailor.limits import MALFORMED, hold, tick


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
    height, width = checked_size(size)
    x0, y0, x1, y1 = (float(v) for v in box)
    if not (np.isfinite([x0, y0, x1, y1]).all() and x1 > x0 and y1 > y0):
        return None
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        return None
    left, right = _span(x0, x1, width)
    top, bottom = _span(y0, y1, height)
    # written as run lengths, column by column, so that the declared size is never allocated
    inside, between = bottom - top, height - (bottom - top)
    columns = right - left
    if between == 0:
        runs = [left * height, columns * height, (width - right) * height]
    else:
        runs = [left * height + top, *([inside, between] * (columns - 1)), inside]
        runs.append(height * width - sum(runs))
    return _packed(runs[:-1] if runs[-1] == 0 else runs, height, width)


def from_polygons(parts: Sequence[Sequence[float]], size: tuple[int, int]) -> dict[str, Any] | None:
    """Mask of the union of closed polygons, each (x0, y0, x1, y1, ...), as pycocotools rasterizes them.

    Polygons of fewer than three points are skipped. None if no polygon is left.

    Args:
        parts: the polygons.
        size: (height, width) of the image.

    Raises:
        DataError: more points, or longer edges, than the limits "points" and "outline", or a size beyond "pixels".
    """
    from pycocotools import mask as coco

    height, width = checked_size(size)
    hold(sum(len(part) for part in parts), "points", "A polygon")
    far = 10.0 * max(size)  # pycocotools steps along every edge: bound the time of absurd coordinates
    rings = [np.asarray(part, float) for part in parts if len(part) >= 6 and len(part) % 2 == 0]
    good = [np.clip(ring, -far, far) for ring in rings if ring.ndim == 1 and np.isfinite(ring).all()]
    hold(sum(map(_length, good)), "outline", "A polygon")
    return coco.merge(coco.frPyObjects([ring.tolist() for ring in good], height, width)) if good else None


def validated(rle: dict[str, Any], name: Path | str) -> dict[str, Any]:
    """Check COCO run lengths, compressed or not, and return them compressed.

    Args:
        rle: {"size": [height, width], "counts": text, bytes or list of run lengths}.
        name: file and place, for the error message.

    Raises:
        DataError: not run lengths, or they do not add up to the number of pixels.
    """
    try:
        height, width = checked_size(rle["size"])
        counts = rle["counts"]
        if isinstance(counts, str):
            counts = counts.encode("ascii")
        hold(len(counts), "annotation_bytes", f"{name}")
        runs = _unpacked(counts) if isinstance(counts, bytes) else _integers(counts)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except MALFORMED as error:
        raise DataError(f"{name}: not a COCO run-length encoding ({error!r}).") from error
    total = int(runs.sum())
    if runs.min(initial=0) < 0 or runs.max(initial=0) > height * width or total != height * width:
        raise DataError(f"{name}: the run lengths add up to {total} pixels, expected {height} x {width}.")
    return _packed(runs, height, width)


def checked_size(size: Sequence[Any]) -> tuple[int, int]:
    """A declared (height, width) as integers, before anything of that size is allocated.

    Raises:
        DataError: not two positive integers, or more than the limit "pixels".
    """
    tick()
    try:
        height, width = size
        whole = int(height) == height and int(width) == width and height > 0 and width > 0
    except MALFORMED:
        whole = False
    if not whole:
        raise DataError(f"The size of a mask must be two positive integers (height, width), got {size!r:.80}.")
    hold(int(height) * int(width), "pixels", f"A mask of {int(width)}x{int(height)} px (width x height)")
    return int(height), int(width)


def _length(ring: np.ndarray) -> float:
    """Length of the closed ring (x0, y0, x1, y1, ...), in the larger of both directions, as it is rasterized."""
    points = ring.reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())


def _integers(counts: Any) -> np.ndarray:
    """Run lengths from a list of numbers, int64."""
    values = np.asarray(counts)
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iuf"):
        raise ValueError(f"run lengths of type {values.dtype} and shape {values.shape}")
    if values.dtype.kind == "f" and not (np.isfinite(values) & (np.abs(values) < 2**53)).all():
        raise ValueError("run lengths must be integers")
    runs = values.astype(np.int64)
    if (runs != values).any():
        raise ValueError("run lengths must be integers")
    return runs


def _packed(runs: Sequence[int] | np.ndarray, height: int, width: int) -> dict[str, Any]:
    """COCO's compressed form of run lengths."""
    from pycocotools import mask as coco

    counts = runs.tolist() if isinstance(runs, np.ndarray) else runs
    return coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def _span(low: float, high: float, limit: int) -> tuple[int, int]:
    start = min(max(round(low), 0), limit - 1)
    return start, max(min(round(high), limit), start + 1)


_DIGITS = 7  # of 5 bits: more than any run of 2**32 pixels needs


def _unpacked(text: bytes) -> np.ndarray:
    """Decode COCO's compressed string in linear time: LEB128 in 5-bit digits, differences from the fourth run on.

    Returns:
        run lengths, int64.
    """
    digits = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not digits.size:
        return digits
    if digits.min() < 0 or digits.max() >= 64:
        raise ValueError("unexpected bytes")
    last = np.flatnonzero((digits & 32) == 0)  # last digit of each number
    if not last.size or last[-1] != digits.size - 1:
        raise ValueError("the string ends inside a number")
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > _DIGITS:
        raise ValueError(f"a number of more than {_DIGITS} digits")
    place = np.arange(digits.size) - np.repeat(first, lengths)
    values = np.add.reduceat((digits & 31) << (5 * place), first)
    values -= np.where(digits[last] & 16, np.int64(1) << (5 * lengths), 0)
    if values.size > 3:  # each run is stored as the difference from the one before the last, from the fourth on
        values[1::2] = np.cumsum(values[1::2])
        values[2::2] = np.cumsum(values[2::2])
    return values


def from_json(rle: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `to_json`."""
    return {"size": list(rle["size"]), "counts": rle["counts"].encode("ascii")}


def is_box(rle: Mapping[str, Any]) -> bool:
    """Whether a mask fills its bounding box, which an outline does not; False for an empty mask."""
    from pycocotools import mask as coco

    _, _, width, height = coco.toBbox(dict(rle))
    return bool(width and height and int(coco.area(dict(rle))) == round(width) * round(height))


def to_json(rle: dict[str, Any]) -> dict[str, Any]:
    """Convert an encoding for JSON: {"size": [height, width], "counts": text}."""
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


__all__ = [
    "checked_size",
    "encode",
    "from_box",
    "from_index_map",
    "from_polygons",
    "to_json",
    "validated",
]
