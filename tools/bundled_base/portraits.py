"""Procedural portraits with shaded faces: hair, skin, brows, eyes, nose and mouth as parts.

No photograph of a face with its parts is among the openly licensed data, so that drawings and these stand in.
"""

from __future__ import annotations

import cv2
import numpy as np

from bundled_base.blobs import noise
from bundled_base.images import Labelled, Rng
from samtailor.data.synth import textures

SIDE = 384
CLOTHES, NECK, HAIR_BEHIND, EAR_LEFT, EAR_RIGHT, SKIN = 1, 2, 3, 4, 5, 6
INSIDE = ("brow left", "brow right", "eye left", "eye right", "nose", "mouth")


class Portrait:
    """A picture that is painted back to front, with the ids of what covers each pixel."""

    def __init__(self, rng: Rng, ground: np.ndarray) -> None:
        self.rng, self.image = rng, ground.astype(np.float32)
        self.parts = np.zeros((SIDE, SIDE), np.uint16)

    def paint(self, part: int, mask: np.ndarray, color: np.ndarray, *, soft: float = 1.0, mark: bool = True) -> None:
        """Cover the mask (float 0..1 or bool) with a color (3,) or an image, with a soft edge in pixels."""
        cover = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), soft)[..., None]
        self.image += cover * (np.asarray(color, np.float32) - self.image)
        if mark:
            self.parts[mask > 0.5] = part

    def ellipse(self, center: np.ndarray, axes: np.ndarray, angle: float = 0.0) -> np.ndarray:
        """(SIDE, SIDE) bool."""
        mask = np.zeros((SIDE, SIDE), np.uint8)
        axes = tuple(round(16 * float(max(a, 1))) for a in axes)
        middle = tuple(round(16 * float(c)) for c in center)
        cv2.ellipse(mask, middle, axes, np.degrees(angle), 0, 360, 1, -1, cv2.LINE_8, 4)
        return mask > 0

    def polygon(self, points: np.ndarray) -> np.ndarray:
        """(SIDE, SIDE) bool, corners rounded by a smooth closed curve through the points."""
        mask = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillPoly(mask, [np.round(_smooth(np.asarray(points, float)) * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
        return mask > 0


def _smooth(points: np.ndarray, rounds: int = 3) -> np.ndarray:
    """Chaikin's corner cutting of a closed polygon."""
    for _ in range(rounds):
        after = np.roll(points, -1, 0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1).reshape(-1, 2)
    return points


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
    _features(p, middle, wide, tall, yaw, skin, hair_color, light)
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


HAIR = SKIN + len(INSIDE) + 1


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


def _features(
    p: Portrait,
    middle: np.ndarray,
    wide: float,
    tall: float,
    yaw: float,
    skin: np.ndarray,
    hair: np.ndarray,
    light: np.ndarray,
) -> None:
    """Brows, eyes, nose and mouth."""
    rng, at = p.rng, middle + np.array([yaw * wide, 0])
    apart, level = wide * rng.uniform(0.4, 0.5), tall * rng.uniform(-0.22, -0.08)
    size = wide * rng.uniform(0.15, 0.22)
    iris, open_eye = np.array(textures.color(rng)) * 0.5, rng.uniform(0.32, 0.55)
    brow_color = (0.6 * hair + 0.1 * skin) if rng.uniform() < 0.9 else 0.5 * skin
    for index, side in enumerate((-1, 1)):
        eye = at + np.array([side * apart * (1 - 0.25 * side * yaw), level])
        reach = size * (1 - 0.5 * side * yaw)
        socket = p.ellipse(eye, (1.7 * reach, 1.3 * reach))
        p.paint(0, socket * rng.uniform(0.1, 0.35), skin * 0.55, soft=4, mark=False)
        tilt = side * rng.normal(0.0, 0.05)
        white = p.ellipse(eye, (reach, open_eye * reach), tilt)
        p.paint(SKIN + 3 + index, white, np.array([225, 222, 218]) * rng.uniform(0.6, 1.0), soft=0.8)
        pupil = eye + np.array([rng.normal(0, 0.05) * reach, 0])
        disc = p.ellipse(pupil, (0.46 * reach, 0.46 * reach)) & white
        p.paint(0, disc, iris, soft=0.6, mark=False)
        p.paint(0, p.ellipse(pupil, (0.2 * reach,) * 2) & white, (12, 10, 10), soft=0.5, mark=False)
        lid = white & ~p.ellipse(eye + np.array([0, 0.25 * open_eye * reach]), (reach, open_eye * reach), tilt)
        p.paint(0, lid, (35, 25, 22), soft=0.6, mark=False)
        lift = tall * rng.uniform(0.12, 0.2)
        curve = np.array([[-1.3, 0.12], [-0.3, -0.14], [0.9, -0.16], [1.35, 0.06], [0.8, 0.02], [-0.3, 0.06]])
        curve = curve * [side * reach * 1.15, reach * rng.uniform(1.0, 2.0)]
        p.paint(SKIN + 1 + index, p.polygon(eye - np.array([0, lift]) + curve), brow_color, soft=1.2)
    _nose(p, at + np.array([0.25 * yaw * wide, 0]), level, wide, tall, skin * light[..., None])
    _mouth(p, at + np.array([0.1 * yaw * wide, tall * rng.uniform(0.52, 0.64)]), wide, tall, skin)


def _nose(p: Portrait, at: np.ndarray, level: float, wide: float, tall: float, skin: np.ndarray) -> None:
    rng = p.rng
    half, tip = wide * rng.uniform(0.17, 0.28), tall * rng.uniform(0.22, 0.36)
    points = np.array(
        [
            [-0.3 * half, level + 0.02 * tall],
            [0.3 * half, level + 0.02 * tall],
            [half, tip - 0.03 * tall],
            [0.7 * half, tip + 0.07 * tall],
            [-0.7 * half, tip + 0.07 * tall],
            [-half, tip - 0.03 * tall],
        ]
    )
    nose = p.polygon(at + points)
    p.paint(SKIN + 5, nose, skin * rng.uniform(0.92, 1.06), soft=3)
    dark = rng.uniform(0.5, 0.8)
    ridge = p.polygon(
        at + np.array([[-0.1 * half, level], [0.15 * half, level], [0.3 * half, tip], [-0.2 * half, tip]])
    )
    p.paint(0, ridge * rng.uniform(0.1, 0.5), np.clip(skin * 1.25, 0, 255), soft=3, mark=False)
    flank = (
        nose & (np.arange(SIDE)[None] > at[0] + 0.1 * half)
        if rng.uniform() < 0.5
        else nose & (np.arange(SIDE)[None] < at[0] - 0.1 * half)
    )
    p.paint(0, flank * rng.uniform(0.1, 0.5), skin * dark, soft=4, mark=False)
    for side in (-1, 1):
        hole = p.ellipse(at + np.array([side * 0.42 * half, tip + 0.02 * tall]), (0.2 * half, 0.1 * half))
        p.paint(0, hole * rng.uniform(0.5, 1), skin * 0.25, soft=1, mark=False)
    under = p.polygon(at + np.array([[-half, tip + 0.05 * tall], [half, tip + 0.05 * tall], [0, tip + 0.14 * tall]]))
    p.paint(0, under * rng.uniform(0.2, 0.6), skin * dark, soft=2.5, mark=False)


def _mouth(p: Portrait, at: np.ndarray, wide: float, tall: float, skin: np.ndarray) -> None:
    rng = p.rng
    half, height = wide * rng.uniform(0.28, 0.44), tall * rng.uniform(0.05, 0.1)
    smile = rng.normal(0, 0.35) * height
    points = np.array(
        [
            [-half, -smile],
            [-0.3 * half, -height],
            [0, -0.8 * height],
            [0.3 * half, -height],
            [half, -smile],
            [0.4 * half, height * 1.1],
            [-0.4 * half, height * 1.1],
        ]
    )
    mouth = p.polygon(at + points)
    tone = skin * np.array([rng.uniform(0.75, 1.05), rng.uniform(0.4, 0.75), rng.uniform(0.45, 0.8)])
    p.paint(SKIN + 6, mouth, np.clip(tone, 0, 255), soft=1.2)
    if rng.uniform() < 0.3:
        p.paint(
            0,
            p.ellipse(at + np.array([0, 0.05 * height]), (0.6 * half, 0.35 * height)),
            (235, 230, 222),
            soft=1,
            mark=False,
        )
    else:
        p.paint(
            0, p.ellipse(at - np.array([0, 0.1 * height]), (0.85 * half, 0.1 * height)), tone * 0.4, soft=1, mark=False
        )


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
