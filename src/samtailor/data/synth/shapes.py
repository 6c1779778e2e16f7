"""Outlines: polygons in a unit frame, and their rasterization.

An outline is a float array (N, 2) of x and y. In the unit frame an object spans about [-1, 1] with y pointing down, as
in images; `place` transforms it to pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

_SHIFT = 4  # fractional bits of OpenCV's fixed-point polygon coordinates


def ellipse(cx: float = 0.0, cy: float = 0.0, rx: float = 1.0, ry: float = 1.0, n: int = 28) -> np.ndarray:
    """Outline ``(n, 2)`` of an axis-aligned ellipse."""
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([cx + rx * np.cos(t), cy + ry * np.sin(t)], axis=1)


def rect(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """Outline ``(4, 2)`` of an axis-aligned rectangle."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=float)


def rounded_rect(x0: float, y0: float, x1: float, y1: float, radius: float) -> np.ndarray:
    """Outline ``(24, 2)`` of a rectangle whose corners are quarter circles of ``radius``."""
    radius = min(radius, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
    corners = (
        (x1 - radius, y1 - radius, 0),
        (x0 + radius, y1 - radius, 1),
        (x0 + radius, y0 + radius, 2),
        (x1 - radius, y0 + radius, 3),
    )
    pieces = []
    for cx, cy, quarter in corners:
        t = np.linspace(0, np.pi / 2, 6) + quarter * np.pi / 2
        pieces.append(np.stack([cx + radius * np.cos(t), cy + radius * np.sin(t)], axis=1))
    return np.concatenate(pieces)


def blob(rng: np.random.Generator, roughness: float = 0.25, n: int = 48) -> np.ndarray:
    """Smooth closed outline ``(n, 2)``: a circle whose radius carries a few random harmonics."""
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    order = np.arange(2, 7)
    size = roughness * rng.normal(size=5) / order**0.8
    phase = rng.uniform(0, 2 * np.pi, 5)
    radius = 1 + (size[:, None] * np.cos(order[:, None] * t + phase[:, None])).sum(0)
    radius = np.clip(radius, 0.35, 1.6)
    return np.stack([radius * np.cos(t), radius * np.sin(t)], axis=1)


def polygon(rng: np.random.Generator, corners: int, irregular: float = 0.35) -> np.ndarray:
    """Outline ``(corners, 2)`` of a random star-shaped polygon about the origin."""
    t = (np.arange(corners) + rng.uniform(-irregular, irregular, corners)) * 2 * np.pi / corners
    radius = 1 - irregular * rng.uniform(0, 1, corners)
    return np.stack([radius * np.cos(t), radius * np.sin(t)], axis=1)


def star(points: int, depth: float = 0.5) -> np.ndarray:
    """Outline ``(2 * points, 2)`` of a star; ``depth`` is the inner radius over the outer one."""
    t = np.arange(2 * points) * np.pi / points - np.pi / 2
    radius = np.where(np.arange(2 * points) % 2 == 0, 1.0, depth)
    return np.stack([radius * np.cos(t), radius * np.sin(t)], axis=1)


def limb(x0: float, y0: float, x1: float, y1: float, w0: float, w1: float) -> np.ndarray:
    """Outline of the convex hull of two discs of radius `w0` and `w1`."""
    ends = np.concatenate([ellipse(x0, y0, w0, w0, 12), ellipse(x1, y1, w1, w1, 12)])
    return cv2.convexHull(ends.astype(np.float32))[:, 0].astype(float)


def crescent(depth: float = 0.5, n: int = 20) -> np.ndarray:
    """Outline of the upper half disc with an ellipse of height ``depth`` cut from below."""
    t = np.linspace(np.pi, 2 * np.pi, n)
    outer = np.stack([np.cos(t), np.sin(t)], axis=1)
    inner = np.stack([np.cos(t), depth * np.sin(t)], axis=1)[::-1]
    return np.concatenate([outer, inner])


def ring(inner: float = 0.6, n: int = 28) -> np.ndarray:
    """Outline of a ring of outer radius 1, cut open along one line so that it is one polygon."""
    t = np.linspace(0, 2 * np.pi, n)
    circle = np.stack([np.cos(t), np.sin(t)], axis=1)
    return np.concatenate([circle, inner * circle[::-1]])


def place(
    outline: np.ndarray, *, center: tuple[float, float], scale: tuple[float, float], angle: float = 0.0
) -> np.ndarray:
    """Transform an outline to pixels: scale by `scale` (pixels), rotate by `angle` (radians), move to `center`."""
    c, s = np.cos(angle), np.sin(angle)
    turned = (outline * np.asarray(scale)) @ np.array([[c, s], [-s, c]])
    return turned + np.asarray(center)


def rasterize(outlines: list[np.ndarray], size: int) -> tuple[np.ndarray, tuple[int, int, int, int]] | None:
    """Fill pixel outlines with an anti-aliased edge.

    Returns:
        coverage of the clipped bounding box, uint8 (h, w), and the box (x0, y0, x1, y1); None if it is outside the
        image of `size` x `size` pixels.
    """
    points = np.concatenate(outlines)
    x0, y0 = np.maximum(np.floor(points.min(0)).astype(int) - 1, 0)
    x1, y1 = np.minimum(np.ceil(points.max(0)).astype(int) + 2, size)
    if x1 <= x0 or y1 <= y0:
        return None
    cover = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for outline in outlines:
        # one call per outline: in a single call overlapping outlines would cancel (even-odd rule)
        fixed = np.round((outline - (x0, y0)) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(cover, [fixed], 255, cv2.LINE_AA, _SHIFT)
    return cover, (int(x0), int(y0), int(x1), int(y1))
