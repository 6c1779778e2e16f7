"""Backgrounds of scenes."""

from __future__ import annotations

import cv2
import numpy as np

from samtailor.data.synth import shapes, textures
from samtailor.data.synth.canvas import blend
from samtailor.data.synth.textures import RGB, color, material, near

Rng = np.random.Generator


def background(rng: Rng, size: int) -> tuple[np.ndarray, list[RGB]]:
    """A random background, uint8 (size, size, 3), and its main colors."""
    kind = rng.choice(["plain", "horizon", "room", "clutter"], p=[0.35, 0.25, 0.2, 0.2])
    if kind == "plain":
        base = color(rng)
        return _surface(rng, base, size), [base]
    if kind == "horizon":
        return _horizon(rng, size)
    if kind == "room":
        return _room(rng, size)
    return _clutter(rng, size)


def tissue(rng: Rng, size: int, base: RGB) -> np.ndarray:
    """Skin or a microscope slide, uint8 (size, size, 3): mottled, sometimes with hairs."""
    image = textures.Material("mottled", base, near(rng, base, 18), 1.0, rng.uniform(10, 60), 0.0).fill(rng, size, size)
    for _ in range(int(rng.choice([0, 0, 0, 8, 20]))):
        x, y, turn = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(0, 6.3)
        bend = np.linspace(0, 1, 8)[:, None] * size * rng.uniform(0.1, 0.4)
        t = turn + np.linspace(0, rng.uniform(-1, 1), 8)[:, None]
        line = np.concatenate([x + bend * np.cos(t), y + bend * np.sin(t)], axis=1)
        cv2.polylines(image, [line.astype(np.int32)], False, (40, 30, 25), 1, cv2.LINE_AA)
    return image


def _surface(rng: Rng, base: RGB, size: int, height: int | None = None) -> np.ndarray:
    return material(rng, base, calm=0.2, scale=size / 256).fill(rng, height or size, size)


def _horizon(rng: Rng, size: int) -> tuple[np.ndarray, list[RGB]]:
    line = int(size * rng.uniform(0.3, 0.75))
    sky = near(rng, (150, 190, 230), 35) if rng.uniform() < 0.6 else color(rng)
    ground = near(rng, (110, 120, 80), 35) if rng.uniform() < 0.5 else color(rng)
    upper = textures.Material("gradient", sky, near(rng, sky, 30), 1.0, 1.0, np.pi / 2).fill(rng, line, size)
    if rng.uniform() < 0.4:
        white = np.full_like(upper, 240)
        blend(upper, white, (255 * np.clip(2 * textures.clouds(rng, line, size, size / 5) - 1, 0, 1)).astype(np.uint8))
    return np.concatenate([upper, _surface(rng, ground, size, size - line)]), [sky, ground]


def _room(rng: Rng, size: int) -> tuple[np.ndarray, list[RGB]]:
    wall, floor = color(rng), color(rng)
    line = int(size * rng.uniform(0.5, 0.85))
    image = np.concatenate([_surface(rng, wall, size, line), _surface(rng, floor, size, size - line)])
    for _ in range(int(rng.integers(0, 3))):
        x, y = rng.integers(0, size), rng.integers(0, line)
        corner = (int(x + size * rng.uniform(0.1, 0.4)), int(y + size * rng.uniform(0.1, 0.4)))
        cv2.rectangle(image, (int(x), int(y)), corner, near(rng, wall, 25), -1)
    return image, [wall, floor]


def _clutter(rng: Rng, size: int) -> tuple[np.ndarray, list[RGB]]:
    base = color(rng)
    image = _surface(rng, base, size)
    for _ in range(int(rng.integers(8, 30))):
        outline = shapes.polygon(rng, int(rng.integers(3, 8)))
        reach = size * rng.uniform(0.03, 0.2, 2)
        polygon = shapes.place(
            outline, center=tuple(rng.uniform(0, size, 2)), scale=tuple(reach), angle=rng.uniform(0, 3.1)
        )
        cv2.fillPoly(image, [polygon.astype(np.int32)], near(rng, base, 22), cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 3) * size / 256), [base]
