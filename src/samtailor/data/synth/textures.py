"""What surfaces look like: a :class:`Material` is drawn once, then fills any number of rectangles.

Everything is NumPy and OpenCV on small arrays, because scenes are made by the ten thousand on a CPU.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

RGB = tuple[float, float, float]  # 0 to 255

KINDS = ("flat", "gradient", "mottled", "grain", "stripes", "checks", "dots", "weave", "waves")
_ODDS = np.array([0.26, 0.18, 0.2, 0.1, 0.09, 0.04, 0.05, 0.04, 0.04])


@dataclass(frozen=True)
class Material:
    """A surface.

    kind: one of :data:`KINDS`. base, second: RGB, 0 to 255, float. contrast: 0 to 1, how far the
    pattern goes from ``base`` to ``second``. period: size of the pattern, px. angle: rad.
    """

    kind: str
    base: RGB
    second: RGB
    contrast: float
    period: float
    angle: float

    def fill(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Image ``(height, width, 3)`` uint8 of this surface."""
        base, second = np.array(self.base, np.float32), np.array(self.second, np.float32)
        if self.kind == "flat":
            return np.broadcast_to(base.astype(np.uint8), (height, width, 3)).copy()
        pattern = _PATTERNS[self.kind](self, rng, height, width) * self.contrast
        image = base + pattern[..., None] * (second - base)
        return np.clip(image, 0, 255).astype(np.uint8)


def color(rng: np.random.Generator) -> RGB:
    """RGB, 0 to 255: saturated, pale, dark and gray colors in about equal parts."""
    saturation = rng.choice([rng.uniform(0, 0.15), rng.uniform(0.15, 0.5), rng.uniform(0.5, 1.0)])
    r, g, b = colorsys.hsv_to_rgb(rng.uniform(), saturation, rng.uniform(0.12, 1.0))
    return 255 * r, 255 * g, 255 * b


def skin(rng: np.random.Generator) -> RGB:
    """RGB of human skin, from very dark to very pale."""
    tone = rng.uniform(0.25, 1.0)
    r, g, b = colorsys.hsv_to_rgb(rng.uniform(0.02, 0.09), rng.uniform(0.2, 0.6) * (1.2 - 0.5 * tone), tone)
    return 255 * r, 255 * g, 255 * b


def near(rng: np.random.Generator, rgb: RGB, spread: float) -> RGB:
    """A color about ``spread`` (0 to 255) away from ``rgb`` in each channel, brightness mostly in common."""
    shift = rng.normal(0, spread) + rng.normal(0, spread * 0.35, 3)
    r, g, b = np.clip(np.array(rgb) + shift, 0, 255)
    return float(r), float(g), float(b)


def apart(rng: np.random.Generator, others: list[RGB], distance: float = 60.0) -> RGB:
    """A color at least ``distance`` (Euclidean, RGB) from all ``others``; after a few tries the farthest tried."""
    best, gap = color(rng), -1.0
    for _ in range(6):
        candidate = color(rng)
        far = min((float(np.linalg.norm(np.subtract(candidate, other))) for other in others), default=1e9)
        if far > gap:
            best, gap = candidate, far
        if far >= distance:
            break
    return best


def material(rng: np.random.Generator, base: RGB, *, calm: float = 0.0, scale: float = 1.0) -> Material:
    """A random surface about the color ``base``.

    calm: chance that it is plain. scale: px per 1/256 of the image.
    """
    kind = "flat" if rng.uniform() < calm else KINDS[rng.choice(len(KINDS), p=_ODDS)]
    strong = kind in ("stripes", "checks", "dots") and rng.uniform() < 0.5
    second = color(rng) if strong else near(rng, base, 35)
    return Material(
        kind,
        base,
        second,
        float(rng.uniform(0.4, 1.0)),
        float(rng.uniform(4, 24)) * scale,
        float(rng.uniform(0, np.pi)),
    )


def clouds(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    """Smooth noise ``(height, width)`` in 0 to 1 whose blotches are about ``period`` px wide."""
    rows, cols = int(height / period) + 3, int(width / period) + 3
    coarse = rng.random((rows, cols), dtype=np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def _grid(surface: Material, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Turned pixel coordinates (u, v), each broadcastable to ``(height, width)``, in periods."""
    y, x = np.ogrid[:height, :width]
    c, s = np.float32(np.cos(surface.angle) / surface.period), np.float32(np.sin(surface.angle) / surface.period)
    return x * c + y * s, y * c - x * s


def _gradient(surface: Material, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    y, x = np.ogrid[:height, :width]
    along = x * np.float32(np.cos(surface.angle)) + y * np.float32(np.sin(surface.angle))
    low, high = along.min(), along.max()
    return ((along - low) / max(high - low, 1e-3)).astype(np.float32)


def _mottled(surface: Material, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return 0.7 * clouds(rng, height, width, surface.period) + 0.3 * clouds(rng, height, width, surface.period / 3)


def _grain(surface: Material, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.random((height, width), dtype=np.float32)


def _stripes(surface: Material, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    u, _ = _grid(surface, height, width)
    return (u % 1 < 0.5).astype(np.float32)


def _checks(surface: Material, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    u, v = _grid(surface, height, width)
    return ((u % 1 < 0.5) ^ (v % 1 < 0.5)).astype(np.float32)


def _dots(surface: Material, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    u, v = _grid(surface, height, width)
    return ((u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.09).astype(np.float32)


def _weave(surface: Material, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    u, v = _grid(surface, height, width)
    return 0.5 * (u * 3 % 1 < 0.5) + 0.5 * (v % 1 < 0.3).astype(np.float32)


def _waves(surface: Material, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    u, v = _grid(surface, height, width)
    return 0.5 + 0.5 * np.sin(2 * np.pi * (u + 0.4 * np.sin(2 * np.pi * v / 3))).astype(np.float32)


_PATTERNS = {
    "gradient": _gradient,
    "mottled": _mottled,
    "grain": _grain,
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "weave": _weave,
    "waves": _waves,
}
