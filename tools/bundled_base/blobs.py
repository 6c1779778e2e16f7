"""Soft-edged blobs on smooth ground: stand-ins for lesions, stains, wounds, polyps and spots of all kinds."""

from __future__ import annotations

import cv2
import numpy as np

from bundled_base.images import Labelled, Rng
from samtailor.data.synth import backgrounds, textures

SIDE = 384
COUNTS = ([1, 2, 3, 6], [0.7, 0.15, 0.1, 0.05])


def noise(rng: Rng, period: float, octaves: int = 3) -> np.ndarray:
    """(SIDE, SIDE) smooth noise of mean 0 and deviation 1.

    Args:
        rng: random generator.
        period: pixels of the coarsest octave.
        octaves: each has half the period and half the weight of the one before.
    """
    total = np.zeros((SIDE, SIDE), np.float32)
    for octave in range(octaves):
        cells = int(np.clip(SIDE / max(period / 2**octave, 2.0), 2, SIDE))
        coarse = rng.normal(size=(cells + 3, cells + 3)).astype(np.float32)
        total += cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) / 2**octave
    return (total - total.mean()) / (total.std() + 1e-6)


def blobs(rng: Rng, ground: np.ndarray | None = None) -> Labelled:
    """One blob, rarely several, on skin, tissue or the given ground.

    Args:
        rng: random generator.
        ground: (SIDE, SIDE, 3) uint8 RGB; skin or a procedural surface without it.
    """
    image = (_ground(rng) if ground is None else ground).astype(np.float32)
    objects = np.zeros((SIDE, SIDE), np.uint16)
    count = int(rng.choice(COUNTS[0], p=COUNTS[1]))
    for number in range(1, count + 1):
        reach = SIDE * (rng.uniform(0.1, 0.48) if count == 1 else rng.uniform(0.05, 0.2))
        middle = rng.uniform(0.3, 0.7, 2) if count == 1 else rng.uniform(0.12, 0.88, 2)
        distance = _distance(rng, middle * SIDE, reach)
        image = _tint(rng, image, distance, reach)
        objects[distance < 0] = number
    image = _camera(rng, np.clip(image, 0, 255).astype(np.uint8))
    return Labelled(image, objects, np.zeros_like(objects), complete=True, sources=("blobs",))


def _ground(rng: Rng) -> np.ndarray:
    kind = rng.uniform()
    if kind < 0.6:
        return backgrounds.tissue(rng, SIDE, textures.skin(rng))
    if kind < 0.8:
        return backgrounds.tissue(rng, SIDE, textures.color(rng))
    return textures.material(rng, textures.color(rng), calm=0.5, scale=1.5).fill(rng, SIDE, SIDE)


def _distance(rng: Rng, middle: np.ndarray, reach: float) -> np.ndarray:
    """(SIDE, SIDE) roughly the signed distance to the outline in pixels, negative inside."""
    ys, xs = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    turn, narrow = rng.uniform(0, np.pi), rng.uniform(0.45, 1.0)
    u = (np.cos(turn) * (xs - middle[0]) + np.sin(turn) * (ys - middle[1])) / reach
    v = (np.cos(turn) * (ys - middle[1]) - np.sin(turn) * (xs - middle[0])) / (reach * narrow)
    radius = np.sqrt(u**2 + v**2)
    rough = rng.choice([0.03, 0.1, 0.2], p=[0.35, 0.4, 0.25])
    outline = 1 + rough * noise(rng, reach * rng.uniform(0.5, 1.5), int(rng.integers(1, 5)))
    distance = (radius - outline) * reach * np.sqrt(narrow)
    count, labels = cv2.connectedComponents((distance < 0).astype(np.uint8))
    if count > 2:  # keep the largest piece; crumbs of the noise are ground
        largest = 1 + int(np.bincount(labels.ravel())[1:].argmax())
        distance = np.where((distance < 0) & (labels != largest), 1.0, distance)
    return distance


def _tint(rng: Rng, image: np.ndarray, distance: np.ndarray, reach: float) -> np.ndarray:
    """The image with a blob whose edge is sharp to very soft."""
    soft = reach * np.exp(rng.uniform(np.log(0.015), np.log(0.22)))
    cover = 1 / (1 + np.exp(np.clip(distance / soft * 2.5, -30, 30)))
    base = np.median(image.reshape(-1, 3), axis=0)
    kind = rng.uniform()
    if kind < 0.55:  # darker, as pigment
        tone = base * rng.uniform(0.2, 0.85) * np.exp(rng.normal(0, 0.12, 3))
    elif kind < 0.75:  # redder or paler
        tone = base * np.array([rng.uniform(0.9, 1.25), *rng.uniform(0.5, 1.05, 2)])
    elif kind < 0.9:
        tone = np.array(textures.near(rng, tuple(base), 35))
    else:
        tone = np.array(textures.color(rng))
    inside = np.broadcast_to(tone.astype(np.float32), image.shape).copy()
    for _ in range(int(rng.integers(0, 4))):  # patches of other tones
        patch = 1 / (1 + np.exp(-4 * (noise(rng, reach * rng.uniform(0.15, 0.8)) - rng.uniform(-0.5, 1.5))))
        other = np.array(tone) * np.exp(rng.normal(0, 0.3)) * np.exp(rng.normal(0, 0.1, 3))
        inside += (rng.uniform(0.3, 1) * patch)[..., None] * (other - inside)
    if rng.uniform() < 0.3:  # a rim or a shade towards the edge
        rim = np.exp(-((distance / (reach * rng.uniform(0.05, 0.3))) ** 2))
        inside *= (1 + rng.normal(0, 0.25) * rim)[..., None]
    if rng.uniform() < 0.35:  # the ground's texture shows through
        inside += 0.8 * (image - cv2.GaussianBlur(image, (0, 0), 6))
    strength = rng.uniform(0.55, 1.0)
    return image + (strength * cover)[..., None] * (inside - image)


def _camera(rng: Rng, image: np.ndarray) -> np.ndarray:
    """Uneven light, dark corners, gleams and hairs."""
    shade = np.ones((SIDE, SIDE), np.float32)
    if rng.uniform() < 0.5:
        shade += rng.uniform(0.03, 0.15) * noise(rng, SIDE * rng.uniform(0.4, 1), 1)
    ys, xs = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE - 0.5
    if rng.uniform() < 0.35:
        edge = rng.uniform(0.42, 0.75)
        shade *= 1 - rng.uniform(0.3, 1) / (1 + np.exp(-(np.hypot(xs, ys) - edge) / rng.uniform(0.01, 0.08)))
    picture = image.astype(np.float32) * np.clip(shade, 0, 2)[..., None]
    for _ in range(int(rng.choice([0, 0, 2, 6]))):
        spot = np.exp(
            -(
                ((xs - rng.uniform(-0.5, 0.5)) / rng.uniform(0.005, 0.03)) ** 2
                + ((ys - rng.uniform(-0.5, 0.5)) / rng.uniform(0.005, 0.03)) ** 2
            )
        )
        picture += (rng.uniform(60, 200) * spot)[..., None]
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    for _ in range(int(rng.choice([0, 0, 0, 6, 25]))):
        start, turn = rng.uniform(0, SIDE, 2), rng.uniform(0, 2 * np.pi)
        way = np.linspace(0, 1, 10)[:, None] * SIDE * rng.uniform(0.1, 0.7)
        angle = turn + np.linspace(0, rng.normal(0, 0.6), 10)[:, None]
        line = start + way * np.concatenate([np.cos(angle), np.sin(angle)], 1)
        tone = tuple(int(c) for c in rng.uniform(10, 70) * np.array([1.1, 1.0, 0.9]))
        cv2.polylines(picture, [line.astype(np.int32)], False, tone, int(rng.integers(1, 3)), cv2.LINE_AA)
    return picture
