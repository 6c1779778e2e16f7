"""Shapes of the masks of a data set: boxes, separate parts, touching objects, size on the mask grid of a base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import cv2
import numpy as np

from samtailor.errors import counted
from samtailor.registry import BUNDLED_BASE
from samtailor.structures import Annotation

MASKS = 2000
"""Largest number of masks that are decoded; a larger data set is sampled evenly."""
GRIDS = {BUNDLED_BASE: 96, "SAM": 256}
"""Cells of the mask grid along the longer side of the image: the bundled base, and SAM and SAM 2."""
_PLURALS = {"polygon": "polygons", "mask": "masks", "box": "boxes"}


@dataclass(frozen=True)
class ShapeStatistics:
    """Shapes of the masks that were decoded.

    Args:
        masks: number of decoded masks.
        drawn: of these, how many the files hold as "polygon", "mask" and "box".
        boxes: those that fill their bounding box.
        several_parts: those of several separate parts (of at least 1 % of the mask each).
        touching: those that touch or overlap another object of the image.
        cells: median side of an object, the root of its area, in cells of each grid of `GRIDS`.
    """

    masks: int
    drawn: dict[str, int]
    boxes: int
    several_parts: int
    touching: int
    cells: dict[str, float]

    def lines(self) -> list[str]:
        """The statistics as sentences."""
        if not self.masks:
            return []
        kinds = ", ".join(
            counted(self.drawn[name], name, plural) for name, plural in _PLURALS.items() if self.drawn[name]
        )
        full = "all" if self.boxes == self.masks > 1 else str(self.boxes)
        fill = "fills its" if full == "1" else "fill their"
        sizes = ", ".join(f"{cells:.1f} of {GRIDS[name]} ({name})" for name, cells in self.cells.items())
        return [
            f"shapes of {counted(self.masks, 'object')}: {kinds}; {full} {fill} bounding box, {self.several_parts} "
            f"with several separate parts, {self.touching} touching another object",
            f"median object size in cells of the mask grid: {sizes}",
        ]


def shape_statistics(images: Sequence[Sequence[Annotation]]) -> ShapeStatistics:
    """Statistics of the targets of images. Crowd regions and empty masks are not counted.

    Args:
        images: annotations of each image.
    """
    total = sum(map(len, images))
    step = max(1, -(-total // MASKS))
    boxes = parts = touching = decoded = 0
    drawn: Counter[str] = Counter()
    cells: dict[str, list[float]] = {name: [] for name in GRIDS}
    for image in images[::step]:
        targets = [a for a in image if a.is_target(None)][:MASKS]
        areas, windows = [a.area for a in targets], [a.box for a in targets]
        masks = [_window(a, box) for a, box in zip(targets, windows, strict=True)]
        for k, mask in enumerate(masks):
            decoded += 1
            drawn[targets[k].drawn] += 1
            boxes += bool(mask.all())
            parts += _has_parts(mask, areas[k])
            touching += any(_touch(k, j, masks, windows) for j in range(len(masks)) if j != k)
            side = max(targets[k].rle["size"])
            for name, grid in GRIDS.items():
                cells[name].append(areas[k] ** 0.5 * grid / side)
    middle = {name: median(values) for name, values in cells.items() if values}
    return ShapeStatistics(decoded, {name: drawn[name] for name in _PLURALS}, boxes, parts, touching, middle)


def _window(annotation: Annotation, box: tuple[float, float, float, float]) -> np.ndarray:
    x0, y0, x1, y1 = (int(v) for v in box)
    return annotation.mask[y0:y1, x0:x1]


def _has_parts(mask: np.ndarray, area: int) -> bool:
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return bool((stats[1:, cv2.CC_STAT_AREA] >= 0.01 * area).sum() > 1)


def _touch(
    one: int, other: int, masks: Sequence[np.ndarray], boxes: Sequence[tuple[float, float, float, float]]
) -> bool:
    """Whether two masks overlap or have neighboring pixels."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = ([int(v) for v in boxes[k]] for k in (one, other))
    x0, y0, x1, y1 = max(ax0, bx0) - 1, max(ay0, by0) - 1, min(ax1, bx1) + 1, min(ay1, by1) + 1
    if x0 >= x1 or y0 >= y1:
        return False
    grown = cv2.dilate(_cut(masks[one], (ax0, ay0), (x0, y0, x1, y1)), np.ones((3, 3), np.uint8))
    return bool((grown & _cut(masks[other], (bx0, by0), (x0, y0, x1, y1))).any())


def _cut(mask: np.ndarray, corner: tuple[int, int], window: tuple[int, int, int, int]) -> np.ndarray:
    """A part of the image as uint8, of a mask whose top-left pixel is at `corner` (x, y)."""
    x0, y0, x1, y1 = window
    out = np.zeros((y1 - y0, x1 - x0), np.uint8)
    top, left = max(y0, corner[1]), max(x0, corner[0])
    bottom, right = min(y1, corner[1] + mask.shape[0]), min(x1, corner[0] + mask.shape[1])
    if bottom > top and right > left:
        part = mask[top - corner[1] : bottom - corner[1], left - corner[0] : right - corner[0]]
        out[top - y0 : bottom - y0, left - x0 : right - x0] = part
    return out


__all__ = ["GRIDS", "MASKS", "ShapeStatistics", "shape_statistics"]
