"""Prompts for the mask decoder from a map of how much each place resembles the references."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from samtailor.structures import Prompts

_LEVEL = 0.5
_SMALLEST = 2  # cells; smaller parts are noise
_PARTS, _PEAKS = 16, 40  # prompts of one kind, at most
_MARGIN = 0.2  # around the box of a mask, as a share of its sides


@dataclass(frozen=True)
class Sizes:
    """Sizes of the objects in the references, relative to the sides of the model frame.

    Args:
        width, height: medians.
        low, high: smallest and largest area, as shares of the frame.
    """

    width: float
    height: float
    low: float
    high: float


def parts(likeness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Connected parts of a map, the largest ones first.

    Args:
        likeness: (n, n) in [0, 1].

    Returns:
        boxes (K, 4), x0 y0 x1 y1, and points (K, 2), farthest from the outline; both in cells.
    """
    mask = (likeness > _LEVEL).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    order = [i for i in np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable") + 1]
    boxes, points = [], []
    for index in order[:_PARTS]:
        x, y, width, height, area = stats[index]
        if area < _SMALLEST:
            continue
        depth = cv2.distanceTransform(np.pad((labels == index).astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        row, column = np.unravel_index(np.argmax(depth[1:-1, 1:-1]), mask.shape)
        boxes.append((x, y, x + width, y + height))
        points.append((column + 0.5, row + 0.5))
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(points, np.float32).reshape(-1, 2)


def peaks(likeness: np.ndarray, sizes: Sizes) -> np.ndarray:
    """Local maxima (K, 2) of a map, x then y in cells, the highest ones first; about one for each object.

    Args:
        likeness: (n, n) in [0, 1].
        sizes: of the objects.
    """
    side = len(likeness)
    extent = max(1.0, min(sizes.width, sizes.height) * side)
    smooth = cv2.GaussianBlur(likeness.astype(np.float32), (0, 0), max(0.5, 0.2 * extent))
    window = int(max(3, round(0.7 * extent))) | 1
    highest = cv2.dilate(smooth, np.ones((window, window), np.uint8))
    rows, columns = np.nonzero((smooth >= highest) & (smooth > _LEVEL))
    order = np.argsort(-smooth[rows, columns], kind="stable")[:_PEAKS]
    return np.stack([columns[order] + 0.5, rows[order] + 0.5], axis=1).astype(np.float32)


def prompts(likeness: np.ndarray, sizes: Sizes, size: int) -> list[Prompts]:
    """Prompts of the model frame for everything that may be an object; B = 1, one entry for each kind of prompt.

    Each connected part of the map gives its box and a click, each peak a click and a box of the median size.

    Args:
        likeness: (n, n) in [0, 1], over the model frame.
        sizes: of the objects in the references.
        size: side of the model frame, pixels.
    """
    cell = size / len(likeness)
    boxes, centers = parts(likeness)
    tops = peaks(likeness, sizes)
    half = np.array([sizes.width, sizes.height], np.float32) * size / 2
    around = np.concatenate([tops * cell - half, tops * cell + half], axis=1)
    clicks = np.concatenate([centers, tops]) * cell - 0.5
    all_boxes = np.concatenate([boxes * cell, around]).clip(0, size)
    if not len(clicks):
        return []
    points = torch.from_numpy(clicks)[None, :, None]
    labels = torch.ones(points.shape[:3], dtype=torch.int64)
    frame = (size, size)
    return [Prompts(frame, points, labels), Prompts(frame, boxes=torch.from_numpy(all_boxes)[None])]


def soft_iou(masks: Tensor, likeness: Tensor) -> Tensor:
    """Agreement (N,) of masks with the map around them, in [0, 1].

    Sum of the likeness inside the mask, divided by the area of the mask plus the likeness outside of it, both within
    the box of the mask and a margin. A part of an object leaves likeness out, and so agrees less than the object.

    Args:
        masks: bool (N, h, w).
        likeness: (h, w) in [0, 1].
    """
    within = boxes_of(masks, _MARGIN)
    inner = torch.einsum("nhw,hw->n", masks.float(), likeness)
    around = torch.einsum("nhw,hw->n", within.float(), likeness)
    return inner / (masks.sum(dim=(1, 2)) + around - inner).clamp(min=1e-6)


def boxes_of(masks: Tensor, margin: float = 0.0) -> Tensor:
    """The filled bounding boxes of masks (N, h, w), bool.

    Args:
        masks: bool.
        margin: added on each side, as a share of the side, rounded up to whole cells.
    """
    rows, columns = _span(masks.any(dim=2), margin), _span(masks.any(dim=1), margin)
    return rows[:, :, None] & columns[:, None, :]


def _span(hit: Tensor, margin: float) -> Tensor:
    """Everything from the first to the last True of each row (N, n)."""
    places = torch.arange(hit.shape[1], device=hit.device)
    first = torch.where(hit, places, hit.shape[1]).amin(dim=1, keepdim=True)
    last = torch.where(hit, places, -1).amax(dim=1, keepdim=True)
    beyond = (margin * (last + 1 - first).clamp(min=0)).ceil()
    return (places >= first - beyond) & (places <= last + beyond)


__all__ = ["Sizes", "boxes_of", "parts", "peaks", "prompts", "soft_iou"]
