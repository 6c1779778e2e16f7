"""Procedural scenes: images of objects with parts, and their masks, determined by a seed.

`scene(7)` is reproducible on one machine. Another build of OpenCV may change single pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from samtailor.data.synth import damage as camera
from samtailor.data.synth import textures, things
from samtailor.data.synth.backgrounds import background, tissue
from samtailor.data.synth.canvas import Canvas
from samtailor.data.synth.textures import apart

SMALLEST = 100 / 256**2  # visible masks below this share of the image are dropped
_WHOLE = 0.9  # parts that cover more than this share of their object are dropped


@dataclass(frozen=True)
class Scene:
    """An image and the masks of its objects and parts.

    Args:
        image: uint8 RGB (S, S, 3).
        masks: bool (S, S) each, the visible pixels of an object (with its parts) or of a part.
        labels: class of each mask.
        parents: index of the object of a part; -1 for an object.
    """

    image: np.ndarray
    masks: list[np.ndarray]
    labels: list[str]
    parents: list[int]


def scene(seed: int, size: int = 256) -> Scene:
    """The scene of a seed, with sides of `size` pixels."""
    canvas = paint(np.random.default_rng(seed), size)
    return _collect(canvas)


def paint(rng: np.random.Generator, size: int) -> Canvas:
    """Paint a random scene with its id maps."""
    kind = rng.choice(["mixed", "cells", "lesion", "portrait", "row"], p=[0.76, 0.06, 0.05, 0.07, 0.06])
    canvas = {"mixed": _mixed, "cells": _cells, "lesion": _lesion, "portrait": _portrait, "row": _row}[kind](rng, size)
    canvas.image = camera.damage(rng, canvas.image)
    return canvas


def _mixed(rng: np.random.Generator, size: int) -> Canvas:
    """One to seven different objects, later ones in front."""
    image, colors = background(rng, size)
    canvas = Canvas.on(image)
    count = int(rng.choice([1, 2, 3, 4, 5, 7], p=[0.16, 0.22, 0.22, 0.18, 0.14, 0.08]))
    for _ in range(count):
        reach = size * rng.uniform(0.1, 0.5) / (1 + 0.12 * count)
        _stand(rng, canvas, _pick(rng), colors, tuple(rng.uniform(0.12, 0.88, 2) * size), reach)
    return canvas


def _portrait(rng: np.random.Generator, size: int) -> Canvas:
    """One object with parts that fills most of the image."""
    image, colors = background(rng, size)
    canvas = Canvas.on(image)
    name = str(
        rng.choice(
            ["face", "person", "car", "house", "front", "bottle", "animal", "banner"],
            p=[0.3, 0.2, 0.12, 0.08, 0.08, 0.07, 0.08, 0.07],
        )
    )
    _stand(rng, canvas, name, colors, tuple(rng.uniform(0.4, 0.6, 2) * size), size * rng.uniform(0.36, 0.52))
    return canvas


def _row(rng: np.random.Generator, size: int) -> Canvas:
    """Several objects of one kind side by side: shelves, crowds, traffic."""
    image, colors = background(rng, size)
    canvas, name = Canvas.on(image), _pick(rng)
    columns, rows = int(rng.integers(2, 6)), int(rng.integers(1, 4))
    for row in range(rows):
        for column in range(columns):
            where = (
                (column + 0.5 + rng.uniform(-0.1, 0.1)) * size / columns,
                (row + 0.5 + rng.uniform(-0.1, 0.1)) * size / rows,
            )
            _stand(rng, canvas, name, colors, where, 0.45 * size / max(rows, columns) * rng.uniform(0.8, 1.2))
    return canvas


def _cells(rng: np.random.Generator, size: int) -> Canvas:
    """A slide with many similar cells or nuclei."""
    ground = (rng.uniform(0, 40),) * 3 if rng.uniform() < 0.4 else textures.color(rng)
    canvas, base = Canvas.on(tissue(rng, size, ground)), apart(rng, [ground], 80)
    reach = size * rng.uniform(0.03, 0.1)
    for _ in range(int(rng.integers(6, 45))):
        layers = things.cell(rng, textures.near(rng, base, 15))
        stretch = rng.uniform(0.6, 1.3, 2) * reach
        canvas.add(
            rng, "cell", layers, center=tuple(rng.uniform(0, size, 2)), scale=tuple(stretch), angle=rng.uniform(0, 3.1)
        )
    return canvas


def _lesion(rng: np.random.Generator, size: int) -> Canvas:
    """One lesion, rarely two, on skin."""
    ground = textures.skin(rng)
    canvas = Canvas.on(tissue(rng, size, ground))
    for _ in range(int(rng.choice([1, 1, 1, 2]))):
        dark = textures.rgb(c * rng.uniform(0.3, 0.8) for c in ground)
        scale = tuple(size * rng.uniform(0.08, 0.4) * rng.uniform(0.7, 1.2, 2))
        canvas.add(rng, "lesion", things.lesion(rng, dark), center=tuple(rng.uniform(0.3, 0.7, 2) * size), scale=scale)
    return canvas


def _pick(rng: np.random.Generator) -> str:
    names, odds = zip(*((name, odds) for name, (odds, _) in things.catalog().items()), strict=True)
    return str(rng.choice(names, p=np.array(odds) / sum(odds)))


def _stand(rng: np.random.Generator, canvas: Canvas, name: str, colors: list, center: tuple, reach: float) -> None:
    """Add an object with a radius of about `reach` pixels at `center`, sometimes with a shadow."""
    if canvas.full:
        return
    _, draw = things.catalog()[name]
    layers = draw(rng, apart(rng, colors))
    narrow = 0.6 if name in ("person", "bottle") else 1.0
    stretch = np.exp(rng.normal(0, 0.22))
    scale = (reach * narrow * stretch, reach / stretch)
    angle = rng.normal(0, 0.18) if rng.uniform() < 0.75 else rng.uniform(-np.pi, np.pi)
    if rng.uniform() < 0.3:
        camera.shadow(
            rng, canvas.image, (center[0] + 0.15 * reach, center[1] + 0.8 * scale[1]), (scale[0] * 1.1, 0.35 * reach)
        )
    canvas.add(rng, name, layers, center=center, scale=(scale[0] * rng.choice([-1, 1]), scale[1]), angle=angle)


def _collect(canvas: Canvas) -> Scene:
    """Masks from the id maps; hidden and tiny objects are left out."""
    least = SMALLEST * canvas.size**2
    object_area = np.bincount(canvas.objects.ravel(), minlength=256)
    part_area = np.bincount(canvas.parts.ravel(), minlength=256)
    masks: list[np.ndarray] = []
    labels: list[str] = []
    parents: list[int] = []
    for owner, name in enumerate(canvas.object_names, 1):
        if object_area[owner] < least:
            continue
        parent = len(masks)
        masks.append(canvas.objects == owner)
        labels.append(name)
        parents.append(-1)
        for part, label in enumerate(canvas.part_names, 1):
            if canvas.part_owner[part - 1] == owner and least <= part_area[part] < _WHOLE * object_area[owner]:
                masks.append(canvas.parts == part)
                labels.append(label)
                parents.append(parent)
    return Scene(canvas.image, masks, labels, parents)
