"""Masks as what travels: COCO run lengths, PNG, polygons."""

from __future__ import annotations

import base64
import io
from typing import Any

import cv2
import numpy as np
from PIL import Image

from samtailor.masks.rle import encode, plain_runs
from samtailor.registry import choose

FORMS = ("rle", "png", "polygons")


def shape(mask: np.ndarray, form: str, tolerance: float = 1.0) -> Any:
    """A boolean mask (height, width) in one of `FORMS`.

    Args:
        mask: image frame.
        form: "rle": COCO's compressed run lengths, {"size": [height, width], "counts": text}. "png": base64 of an
            8-bit grey PNG, 255 on the object. "polygons": see `outlines`, as lists.
        tolerance: of polygons, pixels.
    """
    choose("format", form, FORMS)
    if form == "rle":
        return plain_runs(encode(mask))
    if form == "png":
        return base64.b64encode(png(mask)).decode("ascii")
    return [
        {"outer": outer.tolist(), "holes": [hole.tolist() for hole in holes]}
        for outer, holes in outlines(mask, tolerance)
    ]


def png(mask: np.ndarray) -> bytes:
    """An 8-bit grey PNG, 255 on the object."""
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(stream, format="PNG")
    return stream.getvalue()


def outlines(mask: np.ndarray, tolerance: float = 1.0) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Outer outline and holes of each connected part (8-neighbours), largest first.

    Points are float (n, 2), x then y, on the edges of the pixels: (0, 0) is the corner of the top-left pixel, as in
    COCO and in Label Studio, so that a mask's polygon has the mask's area. With tolerance 0 they are exact.

    Args:
        mask: bool (height, width).
        tolerance: largest distance from the exact outline, pixels. A part that this would leave without area stays
            exact.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    cut = mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint8)
    # Twice as large, a contour's pixels tell which edge they lie on: left and top ones are even, the others odd.
    doubled = cut.repeat(2, axis=0).repeat(2, axis=1)
    contours, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    edges = [_simple(_corners(contour), tolerance) + np.array([left, top]) for contour in contours]
    parts = [
        (edges[i], [edges[j] for j, row in enumerate(tree[0]) if row[3] == i])
        for i, row in enumerate(tree[0])
        if row[3] < 0
    ]
    return sorted(parts, key=lambda part: -cv2.contourArea(part[0].astype(np.float32)))


def _corners(contour: np.ndarray) -> np.ndarray:
    """Doubled pixels to corners of pixels, without repetition and without points on straight runs."""
    points = (contour[:, 0] + 1) // 2
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _simple(points: np.ndarray, tolerance: float) -> np.ndarray:
    if tolerance <= 0:
        return points.astype(float)
    fewer = cv2.approxPolyDP(points.astype(np.int32)[:, None], tolerance, True)[:, 0]
    return (fewer if len(fewer) >= 3 else points).astype(float)


__all__ = ["FORMS", "outlines", "png", "shape"]
