"""True masks of a folder with images/ and labels/.

The labels are NAME.png, 16-bit instance ids with 0 for the background, or NAME.txt, boxes as YOLO writes them; then the
objects are the rectangles.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np


class Truth:
    """The true objects of a folder.

    Args:
        data: the folder.
        number: number of the class, for boxes; None: all classes.
    """

    def __init__(self, data: Path, number: int | None = None) -> None:
        self._labels, self._folder, self._number = data / "labels", data / "images", number

    @cached_property
    def images(self) -> dict[str, Path]:
        """Images by stem."""
        return {path.stem: path for path in sorted(self._folder.iterdir())}

    def masks(self, stem: str) -> list[np.ndarray]:
        """Each object's mask (h, w) bool, in reading order."""
        file = self._labels / f"{stem}.png"
        if file.exists():
            ids = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            found = [ids == one for one in np.unique(ids[ids > 0])]
        else:
            found = self._boxes(stem)
        return sorted(found, key=lambda mask: centre(mask)[::-1])

    def choose(self, most: int, fewest: int, limit: int) -> list[Path]:
        """The first `limit` images by name that have between `fewest` and `most` objects."""
        chosen: list[Path] = []
        for stem, path in self.images.items():
            labelled = any((self._labels / f"{stem}{suffix}").exists() for suffix in (".png", ".txt"))
            if labelled and fewest <= len(self.masks(stem)) <= most:
                chosen.append(path)
            if len(chosen) == limit:
                break
        return chosen

    def _boxes(self, stem: str) -> list[np.ndarray]:
        h, w = cv2.imread(str(self.images[stem])).shape[:2]
        found = []
        for line in (self._labels / f"{stem}.txt").read_text().splitlines():
            number, x, y, width, height = map(float, line.split()[:5])
            if self._number in (None, int(number)):
                mask = np.zeros((h, w), bool)
                left, top = max(0, round((x - width / 2) * w)), max(0, round((y - height / 2) * h))
                mask[top : round((y + height / 2) * h), left : round((x + width / 2) * w)] = True
                found += [mask] if mask.any() else []
        return found


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
