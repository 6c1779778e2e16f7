"""Procedural portraits with shaded faces: hair, skin, brows, eyes, nose and mouth as parts.

No photograph of a face with its parts is among the openly licensed data, so that drawings and these stand in.
"""

from __future__ import annotations

import cv2
import numpy as np

from bundled_base.blobs import noise
from bundled_base.faces import features
from bundled_base.images import Labelled, Rng
from bundled_base.portrait_canvas import (
    CLOTHES,
    EAR_LEFT,
    EAR_RIGHT,
    HAIR,
    INSIDE,
    NECK,
    SIDE,
    SKIN,
    Portrait,
)
from samtailor.data.synth import textures


def portrait(rng: Rng, ground: np.ndarray) -> Labelled:
    """A person from the chest up before the ground (SIDE, SIDE, 3)."""
    p = Portrait(rng, ground)
    tall = SIDE * rng.uniform(0.18, 0.36)  # half the height of the face
    wide = tall * rng.uniform(0.66, 0.84)
    middle = np.array([SIDE * rng.uniform(0.35, 0.65), SIDE * rng.uniform(0.38, 0.55)])
    yaw, skin = rng.normal(0, 0.16), np.array(textures.skin(rng))
    hair_color = _hair_color(rng)
    style = str(rng.choice(["bald", "short", "long", "tied"], p=[0.1, 0.4, 0.35, 0.15]))
    if style == "long":
        _long_hair(p, middle, wide, tall, hair_color)
    _body(p, middle, wide, tall, skin)
    light = _light(rng, middle, tall)
    face = _face_outline(p, middle, wide, tall)
    for side, part in ((-1, EAR_LEFT), (1, EAR_RIGHT)):
        if rng.uniform() < 0.75 and style != "long":
            ear = p.ellipse(
                middle + np.array([side * wide * (0.98 + 0.1 * side * -yaw), 0.02 * tall]), (0.11 * wide, 0.2 * tall)
            )
            p.paint(part, ear, skin * rng.uniform(0.85, 1.0) * light[..., None])
    mottle = 1 + rng.uniform(0.01, 0.05) * noise(rng, tall * 0.4)
    p.paint(SKIN, face, skin * (light * mottle)[..., None])
    features(p, middle, wide, tall, yaw, skin, hair_color, light)
    if style != "bald":
        _hair(p, middle, wide, tall, hair_color, style)
    grain = rng.normal(0, rng.uniform(0, 6), p.image.shape)
    image = np.clip(cv2.GaussianBlur(p.image, (0, 0), rng.uniform(0.4, 1.1)) + grain, 0, 255).astype(np.uint8)
    objects = (p.parts > 0).astype(np.uint16)
    present = [int(i) for i in np.unique(p.parts) if i]
    nested = {i: SKIN for i in present if SKIN < i <= SKIN + len(INSIDE)}
    return Labelled(
        image, objects, p.parts, dict.fromkeys(present, 1), complete=False, nested=nested, sources=("portraits",)
    )


def _hair_color(rng: Rng) -> np.ndarray:
    natural = [
        (25, 20, 18),
        (60, 42, 30),
        (105, 72, 45),
        (170, 130, 80),
        (215, 190, 140),
        (150, 70, 40),
        (170, 168, 165),
    ]
    base = np.array(natural[rng.integers(len(natural))]) if rng.uniform() < 0.93 else np.array(textures.color(rng))
    return base * np.exp(rng.normal(0, 0.15))


def _strands(rng: Rng, color: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE, 3) texture of hair: noise drawn out along one direction, with a gleam."""
    coarse = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    angle = rng.normal(np.pi / 2, 0.5)
    kernel = np.zeros((41, 41), np.float32)
    tip = (20 * np.array([np.cos(angle), np.sin(angle)])).round().astype(int)
    cv2.line(kernel, (20 - int(tip[0]), 20 - int(tip[1])), (20 + int(tip[0]), 20 + int(tip[1])), 1.0)
    streak = cv2.filter2D(coarse, -1, kernel)
    streak = streak / (streak.std() + 1e-6) * rng.uniform(0.05, 0.25) + rng.uniform(0.05, 0.3) * noise(rng, 80, 2)
    return np.clip(color * np.exp(streak)[..., None], 0, 255)


def _light(rng: Rng, middle: np.ndarray, tall: float) -> np.ndarray:
    """(SIDE, SIDE) shading of a rounded head lit from one side."""
    ys, xs = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    u, v = (xs - middle[0]) / tall, (ys - middle[1]) / tall
    turn, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.45)
    side = np.cos(turn) * u + np.sin(turn) * v
    return np.clip(1 - strength * side - rng.uniform(0.05, 0.3) * (u**2 + 0.5 * v**2), 0.25, 1.5)


def _long_hair(p: Portrait, middle: np.ndarray, wide: float, tall: float, color: np.ndarray) -> None:
    rng = p.rng
    down, out = tall * rng.uniform(0.6, 1.9), wide * rng.uniform(1.15, 1.6)
    points = middle + np.array(
        [
            [-0.9 * out, -0.6 * tall],
            [-0.4 * out, -1.3 * tall],
            [0.4 * out, -1.3 * tall],
            [0.9 * out, -0.6 * tall],
            [out, 0.3 * tall],
            [0.9 * out, down],
            [0.3 * out, down * 0.9],
            [-0.3 * out, down * 0.9],
            [-0.9 * out, down],
            [-out, 0.3 * tall],
        ]
    )
    p.paint(HAIR, p.polygon(points + rng.normal(0, 0.05 * wide, points.shape)), 0.8 * _strands(rng, color))


def _body(p: Portrait, middle: np.ndarray, wide: float, tall: float, skin: np.ndarray) -> None:
    rng = p.rng
    top = middle[1] + tall * rng.uniform(1.15, 1.5)
    shoulder = wide * rng.uniform(1.8, 2.8)
    neck = wide * rng.uniform(0.5, 0.72)
    column = (
        np.array(
            [
                [-neck, 0.3 * tall],
                [neck, 0.3 * tall],
                [neck * 1.1, top - middle[1] + 0.45 * tall],
                [-neck * 1.1, top - middle[1] + 0.45 * tall],
            ]
        )
        + middle
    )
    p.paint(NECK, p.polygon(column), skin * rng.uniform(0.6, 0.9))
    x, drop = middle[0], tall * rng.uniform(0.25, 0.7)
    cloth = np.array(
        [
            [x - neck * 1.15, top],
            [x - shoulder, top + drop],
            [x - shoulder * 1.1, SIDE + 60],
            [x + shoulder * 1.1, SIDE + 60],
            [x + shoulder, top + drop],
            [x + neck * 1.15, top],
            [x, top + tall * rng.uniform(0.1, 0.6)],
        ]
    )
    surface = textures.material(rng, textures.color(rng), calm=0.4, scale=1.2).fill(rng, SIDE, SIDE)
    fold = 1 + rng.uniform(0, 0.15) * noise(rng, 60, 2)
    p.paint(CLOTHES, p.polygon(cloth), surface * fold[..., None])


def _face_outline(p: Portrait, middle: np.ndarray, wide: float, tall: float) -> np.ndarray:
    jaw = p.rng.uniform(0.62, 0.92)
    points = np.array(
        [[0, -1.05], [0.7, -0.95], [1.05, -0.45], [1.04, 0.1], [0.95 * jaw + 0.1, 0.6], [0.5 * jaw, 1.0], [0, 1.12]]
    )
    points = np.concatenate([points, points[-2:0:-1] * [-1, 1]])
    return p.polygon(middle + points * [wide, tall])


def _hair(p: Portrait, middle: np.ndarray, wide: float, tall: float, color: np.ndarray, style: str) -> None:
    """The hair above and beside the forehead."""
    rng = p.rng
    top, line = tall * rng.uniform(1.18, 1.5), tall * rng.uniform(0.45, 0.8)
    down, out = (
        tall * (rng.uniform(-0.3, 0.1) if style != "long" else rng.uniform(0.3, 1.2)),
        wide * rng.uniform(1.05, 1.25),
    )
    part = rng.uniform(-0.5, 0.5) * wide
    outer = [
        [-out, down],
        [-out * 1.02, -0.5 * tall],
        [-0.6 * wide, -0.97 * top],
        [0, -top],
        [0.6 * wide, -0.97 * top],
        [out * 1.02, -0.5 * tall],
        [out, down],
    ]
    inner = [
        [0.9 * wide, down - 0.05 * tall],
        [0.85 * wide, -0.45 * tall],
        [0.45 * wide, -line],
        [part, -line * rng.uniform(0.95, 1.1)],
        [-0.45 * wide, -line],
        [-0.85 * wide, -0.45 * tall],
        [-0.9 * wide, down - 0.05 * tall],
    ]
    mask = p.polygon(middle + np.array(outer + inner) + rng.normal(0, 0.02 * wide, (14, 2)))
    p.paint(HAIR, mask, _strands(rng, color), soft=1.5)
