"""Objects in front of banners: poles, branches, people, cars, plants, railings."""

from __future__ import annotations

import itertools

import numpy as np

from samtailor.data.synth import figures, shapes, textures, things
from samtailor.data.synth.canvas import Canvas, Layer
from samtailor.data.synth.textures import Material, near

Rng = np.random.Generator


def occlude(rng: Rng, canvas: Canvas, size: tuple[int, int], banners: dict[int, int], keep: float) -> None:
    """Add up to three objects in front of banners. Those that would hide too much of a banner are removed.

    Args:
        rng: random generator.
        canvas: canvas with the banners.
        size: (height, width) in pixels of the image, at the top left of the canvas.
        banners: id in `canvas.objects` to the pixels of the banner without occlusion.
        keep: smallest share of each banner that remains visible.
    """
    names, odds = zip(*_KINDS.items(), strict=True)
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.34, 0.38, 0.2, 0.08]))):
        draw = names[rng.choice(len(names), p=odds)]
        before = canvas.image.copy(), canvas.objects.copy(), canvas.parts.copy()
        draw(rng, canvas, size, _target(rng, canvas, list(banners)))
        left = np.bincount(canvas.objects.ravel(), minlength=256)
        if any(left[owner] < keep * whole for owner, whole in banners.items()):
            canvas.image, canvas.objects, canvas.parts = before


def _target(rng: Rng, canvas: Canvas, banners: list[int]) -> tuple[float, float, float, float]:
    """Box x0, y0, x1, y1 of a random banner to occlude."""
    mask = canvas.objects == banners[int(rng.integers(len(banners)))]
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1


def _pole(rng: Rng, canvas: Canvas, size: tuple[int, int], box: tuple[float, float, float, float]) -> None:
    """A lamp post or the stem of a sign."""
    height, _ = size
    x, lean, thick = rng.uniform(box[0], box[2]), rng.normal(0, 0.01) * height, height * rng.uniform(0.008, 0.022)
    post = shapes.limb(
        x,
        -0.1 * height if rng.uniform() < 0.6 else rng.uniform(0, 0.3) * height,
        x + lean,
        1.1 * height,
        thick * 0.8,
        thick,
    )
    tone = near(rng, (75, 78, 80) if rng.uniform() < 0.6 else (150, 150, 148), 18)
    surface = Material("gradient", tone, near(rng, tone, 25), 1.0, 1.0, 0.0)
    canvas.add(rng, "pole", [Layer([post], surface)], center=(0, 0), scale=(1, 1))


def _branch(rng: Rng, canvas: Canvas, size: tuple[int, int], box: tuple[float, float, float, float]) -> None:
    """A branch with leaves from the side or from above."""
    height, width = size
    tip = np.array([rng.uniform(box[0], box[2]), rng.uniform(box[1], 0.6 * box[1] + 0.4 * box[3])])
    root = np.array([-0.05 * width if tip[0] < width / 2 else 1.05 * width, rng.uniform(-0.1, 0.3) * height])
    bark = Material("flat", near(rng, (85, 70, 55), 12), (0, 0, 0), 0.0, 1.0, 0.0)
    leaf = near(rng, ((70, 105, 50), (100, 125, 60), (160, 110, 50))[rng.choice(3, p=[0.5, 0.35, 0.15])], 14)
    along = root + np.linspace(0, 1, 5)[:, None] * (tip - root) + rng.normal(0, 0.015 * height, (5, 2))
    wood = [
        shapes.limb(x0, y0, x1, y1, 0.008 * height * (1 - i / 6), 0.007 * height * (1 - i / 5))
        for i, ((x0, y0), (x1, y1)) in enumerate(itertools.pairwise(along))
    ]
    layers = [Layer(wood, bark)]
    for _ in range(2):
        leaves = []
        for _ in range(int(rng.integers(10, 26))):
            at = along[0] + rng.uniform(0.35, 1.05) * (along[-1] - along[0]) + rng.normal(0, 0.035 * height, 2)
            long = height * rng.uniform(0.012, 0.026)
            leaves.append(
                shapes.place(
                    shapes.ellipse(n=12), center=tuple(at), scale=(long, long * 0.5), angle=rng.uniform(0, 3.1)
                )
            )
        layers.append(Layer(leaves, Material("flat", near(rng, leaf, 14), leaf, 0.0, 1.0, 0.0)))
    canvas.add(rng, "branch", layers, center=(0, 0), scale=(1, 1))


def _person(rng: Rng, canvas: Canvas, size: tuple[int, int], box: tuple[float, float, float, float]) -> None:
    """A pedestrian, with feet below the image or on the ground."""
    height, _ = size
    tall = height * rng.uniform(0.22, 0.42)
    head = rng.uniform(max(box[1], 0.35 * height), 0.95 * height)
    layers = figures.person(rng, textures.color(rng))
    canvas.add(
        rng,
        "person",
        layers,
        center=(rng.uniform(box[0], box[2]), max(head, box[3] - 0.35 * tall) + tall),
        scale=(tall * 0.75, tall),
    )


def _car(rng: Rng, canvas: Canvas, size: tuple[int, int], box: tuple[float, float, float, float]) -> None:
    """A parked car at the lower edge."""
    height, _ = size
    reach = height * rng.uniform(0.2, 0.32)
    y = min(max(box[3] + reach * rng.uniform(-0.1, 0.4), 0.86 * height), height)
    layers = things.car_side(rng, textures.color(rng))
    canvas.add(
        rng,
        "car",
        layers,
        center=(rng.uniform(box[0], box[2]), y),
        scale=(reach * float(rng.choice([-1, 1])), reach * 0.55),
    )


def _plant(rng: Rng, canvas: Canvas, size: tuple[int, int], box: tuple[float, float, float, float]) -> None:
    """A small tree that grows up from below the image."""
    height, _ = size
    reach = height * rng.uniform(0.08, 0.2)
    leaf = Material("mottled", near(rng, (75, 105, 55), 14), near(rng, (50, 75, 40), 10), 1.0, height / 60, 0.0)
    crown = [
        shapes.place(shapes.blob(rng, 0.4), center=(rng.normal(0, 0.35), rng.normal(0, 0.25)), scale=(0.7, 0.6))
        for _ in range(3)
    ]
    where = (rng.uniform(box[0], box[2]), box[3] + reach * rng.uniform(-0.2, 0.5))
    stem = shapes.rect(-0.06, 0, 0.06, max((height - where[1]) / reach, 0) + 0.5)
    bark = Material("flat", near(rng, (90, 72, 55), 10), (0, 0, 0), 0.0, 1.0, 0.0)
    canvas.add(rng, "plant", [Layer([stem], bark), Layer(crown, leaf)], center=where, scale=(reach, reach))


def _railing(rng: Rng, canvas: Canvas, size: tuple[int, int], box: tuple[float, float, float, float]) -> None:
    """A railing across the lower part of the image."""
    height, width = size
    top, step, thick = (
        box[3] - (box[3] - box[1]) * rng.uniform(0.02, 0.25),
        width * rng.uniform(0.03, 0.06),
        height * rng.uniform(0.004, 0.008),
    )
    bars = [
        shapes.rect(x - thick / 2, top, x + thick / 2, height + 2) for x in np.arange(rng.uniform(0, step), width, step)
    ]
    rail = [shapes.rect(-2, top - thick, width + 2, top + thick)]
    tone = near(rng, (60, 62, 64) if rng.uniform() < 0.7 else (205, 205, 200), 12)
    canvas.add(
        rng, "railing", [Layer(bars + rail, Material("flat", tone, tone, 0.0, 1.0, 0.0))], center=(0, 0), scale=(1, 1)
    )


_KINDS = {_pole: 0.24, _branch: 0.22, _person: 0.24, _car: 0.12, _plant: 0.13, _railing: 0.05}


__all__ = ["occlude"]
