"""True masks of a folder with images/ and labels/NAME.png (16-bit instance ids, 0 = background)."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np


def masks(label: Path) -> list[np.ndarray]:
    """Each object's mask (h, w) bool, in reading order."""
    ids = cv2.imread(str(label), cv2.IMREAD_UNCHANGED)
    found = [ids == one for one in np.unique(ids[ids > 0])]
    return sorted(found, key=lambda mask: centre(mask)[::-1])


def choose(data: Path, most: int, fewest: int, limit: int) -> list[Path]:
    """The first `limit` images by name that have between `fewest` and `most` objects."""
    images = {path.stem: path for path in sorted((data / "images").iterdir())}
    fits = [
        images[label.stem]
        for label in sorted((data / "labels").glob("*.png"))
        if label.stem in images and fewest <= len(masks(label)) <= most
    ]
    return fits[:limit]


def copy(images: list[Path], folder: Path) -> None:
    """Hard links (or copies) into a fresh folder."""
    folder.mkdir(parents=True)
    for one in images:
        try:
            os.link(one, folder / one.name)
        except OSError:
            (folder / one.name).write_bytes(one.read_bytes())


def centre(mask: np.ndarray) -> tuple[float, float]:
    """The position furthest from the edge, (x, y) in pixels; a single pixel's middle is at +0.5."""
    distance = depth(mask)
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    return float(x) + 0.5, float(y) + 0.5


def depth(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel inside to the outside."""
    return cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Of two masks of the same size."""
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either if either else 0.0


def largest(error: np.ndarray) -> np.ndarray:
    """The largest connected piece of a mask."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(error.astype(np.uint8))
    return pieces == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()) if len(stats) > 1 else error


def corners(mask: np.ndarray, most: int) -> list[tuple[float, float]]:
    """At most `most` corners around a mask, on the outer side of its edge pixels."""
    rings, _ = cv2.findContours(largest(mask).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    ring, step = max(rings, key=len), 0.5
    found = cv2.approxPolyDP(ring, step, True)
    while len(found) > most:
        step *= 1.15
        found = cv2.approxPolyDP(ring, step, True)
    at = found[:, 0].astype(float) + 0.5
    away = at - at.mean(axis=0)
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    h, w = mask.shape
    if len(at) > 3 and np.linalg.norm(at[0] - at[-1]) < 4:  # the page would take it for the first one
        at, away = at[:-1], away[:-1]
    return [(min(max(x, 0.1), w - 0.1), min(max(y, 0.1), h - 0.1)) for x, y in at + 0.5 * away]
