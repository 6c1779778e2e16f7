"""Images to look at: masks laid over an image in colour with their outline, clicks and boxes drawn in."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Colour = tuple[int, int, int]
TRUTH: Colour = (52, 199, 89)
PALETTE: tuple[Colour, ...] = (
    (10, 132, 255),
    (255, 149, 0),
    (191, 90, 242),
    (48, 209, 88),
    (255, 69, 58),
    (100, 210, 255),
    (255, 214, 10),
    (255, 100, 160),
)
"""Colours of masks, in order; told apart by people with red-green blindness by lightness."""


def overlay(
    image: np.ndarray,
    masks: Sequence[np.ndarray],
    *,
    colours: Sequence[Colour] = PALETTE,
    outlines: Sequence[np.ndarray] = (),
    points: Sequence[tuple[float, float, int]] = (),
    boxes: Sequence[Sequence[float]] = (),
    alpha: float = 0.45,
) -> np.ndarray:
    """Draw on a copy of an image.

    Args:
        image: uint8 RGB (height, width, 3).
        masks: bool (height, width) each, filled and outlined in the colours in turn.
        outlines: bool (height, width) each, of true masks: only their outline, green on dark.
        points: (x, y, label) clicks in pixels; 1 a bright dot, 0 a red cross.
        boxes: (x0, y0, x1, y1) in pixels.
        alpha: share of the colour in a mask.

    Returns:
        uint8 RGB (height, width, 3).
    """
    out = image.copy()
    thick = max(1, round(max(image.shape[:2]) / 320))
    for index, mask in enumerate(masks):
        colour = np.array(colours[index % len(colours)], np.float32)
        out[mask] = (out[mask] * (1 - alpha) + colour * alpha).astype(np.uint8)
    for index, mask in enumerate(masks):
        _outline(out, mask, colours[index % len(colours)], thick)
    for mask in outlines:
        _outline(out, mask, (0, 0, 0), thick + 2)
        _outline(out, mask, TRUTH, thick)
    for box in boxes:
        x0, y0, x1, y1 = (round(v) for v in box)
        cv2.rectangle(out, (x0, y0), (x1 - 1, y1 - 1), (255, 255, 255), thick)
    for x, y, label in points:
        _click(out, (round(x), round(y)), label, 2 + 2 * thick)
    return out


def fit(image: np.ndarray, side: int) -> np.ndarray:
    """An image made smaller (or, if tiny, larger) so that its longer side is `side` pixels."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def around(box: Sequence[float], height: int, width: int, margin: float = 0.75) -> tuple[slice, slice]:
    """Rows and columns of a view around a box: small objects would not be seen in the whole image.

    The view is the box and `margin` of its longer side all around, at least a quarter of the image.
    """
    x0, y0, x1, y1 = box
    reach = max(max(x1 - x0, y1 - y0) * (0.5 + margin), max(height, width) / 8)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    rows = slice(max(0, int(cy - reach)), min(height, int(cy + reach) + 1))
    return rows, slice(max(0, int(cx - reach)), min(width, int(cx + reach) + 1))


def _outline(out: np.ndarray, mask: np.ndarray, colour: Colour, thick: int) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(out, contours, -1, colour, thick)


def _click(out: np.ndarray, centre: tuple[int, int], label: int, radius: int) -> None:
    if label == 1:
        cv2.circle(out, centre, radius + 1, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(out, centre, radius, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(out, centre, max(1, radius // 2), (0, 150, 60), -1, cv2.LINE_AA)
        return
    for colour, thick in (((0, 0, 0), radius), ((255, 60, 48), max(1, radius // 2))):
        cv2.drawMarker(out, centre, colour, cv2.MARKER_TILTED_CROSS, 3 * radius, thick, cv2.LINE_AA)


__all__ = ["PALETTE", "TRUTH", "around", "fit", "overlay"]
