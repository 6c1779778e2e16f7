"""Brows, eyes, nose and mouth of a procedural portrait."""

from __future__ import annotations

import numpy as np

from bundled_base.portrait_canvas import SIDE, SKIN, Portrait
from samtailor.data.synth import textures


def features(
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
