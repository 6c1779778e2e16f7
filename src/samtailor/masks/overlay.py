"""Draw masks, outlines, clicks and boxes on an image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Color = tuple[int, int, int]
TRUTH: Color = (52, 199, 89)
PALETTE: tuple[Color, ...] = (
    (10, 132, 255),
    (255, 149, 0),
    (191, 90, 242),
    (48, 209, 88),
    (255, 69, 58),
    (100, 210, 255),
    (255, 214, 10),
    (255, 100, 160),
)
"""Colors of masks, in order. They differ in lightness, so that color-blind readers can tell them apart."""


def overlay(
    image: np.ndarray,
    masks: Sequence[np.ndarray],
    *,
    colors: Sequence[Color] = PALETTE,
    outlines: Sequence[np.ndarray] = (),
    points: Sequence[tuple[float, float, int]] = (),
    boxes: Sequence[Sequence[float]] = (),
    alpha: float = 0.45,
    thick: int | None = None,
) -> np.ndarray:
    """Draw on a copy of an image.

    Args:
        image: uint8 RGB (height, width, 3).
        masks: bool (height, width) each, filled and outlined; the colors repeat.
        outlines: bool (height, width) each, true masks of which only the outline is drawn, green on black.
        points: (x, y, label) clicks in pixels; label 1 is a green dot, 0 a red cross.
        boxes: (x0, y0, x1, y1) in pixels.
        alpha: opacity of the fill, in [0, 1].
        thick: width of lines, pixels; None: in proportion to the image.

    Returns:
        uint8 RGB (height, width, 3).
    """
    out = image.copy()
    thick = thick or max(1, round(max(image.shape[:2]) / 320))
    for index, mask in enumerate(masks):
        color = np.array(colors[index % len(colors)], np.float32)
        out[mask] = (out[mask] * (1 - alpha) + color * alpha).astype(np.uint8)
    for index, mask in enumerate(masks):
        _outline(out, mask, colors[index % len(colors)], thick)
    for mask in outlines:
        _outline(out, mask, (0, 0, 0), thick + 2)
        _outline(out, mask, TRUTH, thick)
    for box in boxes:
        x0, y0, x1, y1 = (round(v) for v in box)
        for line, width in (((0, 0, 0), thick + 2), ((255, 255, 255), thick)):  # visible on every background
            cv2.rectangle(out, (x0, y0), (x1 - 1, y1 - 1), line, width)
    for x, y, label in points:
        _click(out, (round(x), round(y)), label, 2 + 2 * thick)
    return out


def fit(image: np.ndarray, side: int) -> np.ndarray:
    """Resize an image so that its longer side has `side` pixels."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def close_up(
    image: np.ndarray,
    view: tuple[slice, slice],
    masks: Sequence[np.ndarray] = (),
    *,
    side: int = 400,
    outlines: Sequence[np.ndarray] = (),
    points: Sequence[tuple[float, float, int]] = (),
    boxes: Sequence[Sequence[float]] = (),
    colors: Sequence[Color] = PALETTE,
) -> np.ndarray:
    """`overlay` on a detail of an image, resized first: lines and clicks have the same size in every detail.

    Args:
        image, masks, outlines, points, boxes, colors: see `overlay`, in the frame of the whole image.
        view: rows and columns of the detail.
        side: longer side of the result, pixels.
    """
    detail = fit(image[view], side)
    height, width = detail.shape[:2]
    top, left = view[0].start, view[1].start
    scale = height / (view[0].stop - top), width / (view[1].stop - left)

    def resized(mask: np.ndarray) -> np.ndarray:
        way = cv2.INTER_AREA if scale[0] < 1 else cv2.INTER_LINEAR
        return cv2.resize(mask[view].astype(np.float32), (width, height), interpolation=way) >= 0.5

    return overlay(
        detail,
        [resized(mask) for mask in masks],
        colors=colors,
        outlines=[resized(mask) for mask in outlines],
        points=[((x - left) * scale[1], (y - top) * scale[0], label) for x, y, label in points],
        thick=max(1, side // 200),
        boxes=[[(value - (top if i % 2 else left)) * scale[1 - i % 2] for i, value in enumerate(box)] for box in boxes],
    )


def around(box: Sequence[float], height: int, width: int, margin: float = 0.75) -> tuple[slice, slice]:
    """Rows and columns of a detail view around a box, to show small objects.

    Args:
        box: (x0, y0, x1, y1) in pixels.
        height, width: size of the image.
        margin: padding on each side, relative to the longer side of the box. The view covers at least a quarter of
            the longer side of the image.
    """
    x0, y0, x1, y1 = box
    reach = max(max(x1 - x0, y1 - y0) * (0.5 + margin), max(height, width) / 8)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    rows = slice(max(0, int(cy - reach)), min(height, int(cy + reach) + 1))
    return rows, slice(max(0, int(cx - reach)), min(width, int(cx + reach) + 1))


def _outline(out: np.ndarray, mask: np.ndarray, color: Color, thick: int) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(out, contours, -1, color, thick)


def _click(out: np.ndarray, center: tuple[int, int], label: int, radius: int) -> None:
    if label == 1:
        cv2.circle(out, center, radius + 1, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(out, center, radius, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(out, center, max(1, radius // 2), (0, 150, 60), -1, cv2.LINE_AA)
        return
    for color, thick in (((0, 0, 0), radius), ((255, 60, 48), max(1, radius // 2))):
        cv2.drawMarker(out, center, color, cv2.MARKER_TILTED_CROSS, 3 * radius, thick, cv2.LINE_AA)


__all__ = ["PALETTE", "TRUTH", "around", "close_up", "fit", "overlay"]
