"""Carriers of banners: a van, a bus, a hoarding, a stall, a kiosk, a house front.

A carrier and its banners form a group (`Canvas.groups`): a click on the banner may refer to the print, the banner or
the whole van.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from samtailor.data.synth import shapes, things
from samtailor.data.synth.attach import Spot
from samtailor.data.synth.canvas import DECOR, Canvas, Layer
from samtailor.data.synth.street import Backdrop
from samtailor.data.synth.textures import RGB, apart, color, material, rgb

Rng = np.random.Generator
Reach = tuple[float, float, float, float]
"""Half width and half height in pixels, and the center relative to that of the banner, in units of these."""


ON_WALL = ("hoarding", "front", "awning")
STANDING = ("van", "bus", "hoarding", "kiosk", "front", "stall")


def pick(rng: Rng, place: Backdrop) -> str:
    """Name of a random carrier that fits the place."""
    return str(rng.choice(ON_WALL if place.wall else STANDING))


def carry(rng: Rng, canvas: Canvas, where: Spot, name: str) -> int:
    """Paint a carrier at the position of a banner, rotated like it; returns its id in `canvas.objects`."""
    layers, reach = CARRIERS[name]
    tall, wide = where.size
    half_wide, half_tall, right, down = reach(rng, wide / 2, tall / 2)
    top = where.corners[1] - where.corners[0]
    angle = float(np.arctan2(top[1], top[0])) * rng.uniform(0.3, 1.0)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = where.corners.mean(0) + turned @ (right * half_wide, down * half_tall)
    flip = rng.choice([-1, 1]) if right == 0 else 1
    ground = (float(rng.uniform(90, 240)),) * 3 if rng.uniform() < 0.4 else color(rng)
    scale = (half_wide * flip, half_tall)
    canvas.add(rng, name, layers(rng, ground), center=tuple(center), scale=scale, angle=angle)
    return len(canvas.object_names)


def van(rng: Rng, base: RGB) -> list[Layer]:
    """A van from the side, its box without decoration."""
    nose, roof = rng.uniform(0.5, 0.62), rng.uniform(-0.95, -0.7)
    body = np.array([[-1, roof], [nose, roof], [0.93, -0.1], [1, 0.62], [-1, 0.62]])
    pane = np.array([[nose + 0.03, roof + 0.15], [nose + 0.12, roof + 0.15], [0.88, -0.12], [nose + 0.03, -0.12]])
    glass = material(rng, apart(rng, [base]), calm=0.7)
    return [Layer([body], material(rng, base, calm=0.6)), Layer([pane], glass, "window"), *_wheels(rng, (-0.6, 0.62))]


def bus(rng: Rng, base: RGB) -> list[Layer]:
    """A bus from the side: a row of windows above, no decoration below."""
    glass = material(rng, apart(rng, [base]), calm=0.7)
    layers = [Layer([shapes.rounded_rect(-1, -1, 1, 0.7, 0.08)], material(rng, base, calm=0.6))]
    count = int(rng.integers(4, 8))
    step = 1.9 / count
    panes = [shapes.rect(x, -0.88, x + 0.82 * step, -0.45) for x in np.arange(count) * step - 0.95]
    layers += [Layer([pane], glass, "window") for pane in panes]
    return [*layers, *_wheels(rng, (-0.65, 0.65))]


def hoarding(rng: Rng, base: RGB) -> list[Layer]:
    """A wall of boards, sometimes framed or planked."""
    layers = [Layer([shapes.rect(-1, -1, 1, 1)], material(rng, apart(rng, [base]), calm=0.7))]
    rim = rng.uniform(0.02, 0.07) if rng.uniform() < 0.5 else 0.0
    layers.append(Layer([shapes.rect(rim - 1, rim - 1, 1 - rim, 1 - rim)], material(rng, base, calm=0.3), DECOR))
    if rng.uniform() < 0.4:
        dark = material(rng, rgb(0.7 * v for v in base), calm=1)
        at = np.linspace(-1, 1, int(rng.integers(4, 9)))[1:-1]
        layers.append(Layer([shapes.rect(x - 0.006, -1, x + 0.006, 1) for x in at], dark, DECOR, clip=True))
    return layers


def stall(rng: Rng, base: RGB) -> list[Layer]:
    """A market stall: a roof with a front, posts, a table."""
    wood = material(rng, apart(rng, [base]), calm=0.6)
    layers = [Layer([shapes.rect(x, -0.3, x + 0.06, 1) for x in (-0.9, 0.84)], wood)]
    layers.append(Layer([shapes.rect(-0.95, 0.45, 0.95, 1)], material(rng, apart(rng, [base]), calm=0.4), "table"))
    roof = np.array([[-0.8, -1], [0.8, -1], [1, 0.1], [-1, 0.1]])
    return [*layers, Layer([roof], material(rng, base, calm=0.2), "roof")]


def awning(rng: Rng, base: RGB) -> list[Layer]:
    """A shop front: a wide board above panes and a door."""
    glass = material(rng, apart(rng, [base]), calm=0.6)
    layers = [Layer([shapes.rect(-1, -1, 1, 1)], material(rng, base, calm=0.5))]
    count = int(rng.integers(2, 5))
    step = 1.9 / count
    panes = [shapes.rect(x, 0.2, x + 0.85 * step, 0.95) for x in np.arange(count) * step - 0.95]
    return layers + [Layer([pane], glass, "window") for pane in panes]


def _wheels(rng: Rng, places: tuple[float, float]) -> list[Layer]:
    tire, hub = material(rng, (30, 30, 32), calm=0.7), material(rng, (170, 170, 175), calm=1)
    layers = []
    for x in places:
        layers.append(Layer([shapes.ellipse(x, 0.68, 0.15, 0.3)], tire, "wheel"))
        layers.append(Layer([shapes.ellipse(x, 0.68, 0.07, 0.14)], hub, DECOR))
    return layers


def _of_van(rng: Rng, wide: float, tall: float) -> Reach:
    grown = rng.uniform(1.25, 1.9)
    return max(wide / 0.68, tall / 0.9) * grown, max(tall / 0.72, wide * 0.5) * grown, 0.2, 0.1


def _of_bus(rng: Rng, wide: float, tall: float) -> Reach:
    grown = rng.uniform(1.2, 1.9)
    return max(wide, 1.6 * tall) * grown, max(tall / 0.5, wide / 2.6) * rng.uniform(1.1, 1.5), 0.0, -0.1


def _of_board(rng: Rng, wide: float, tall: float) -> Reach:
    grown = rng.uniform(1.4, 2.6, 2)
    free = rng.uniform(-0.8, 0.8, 2) * (1 - 1 / grown)
    return wide * grown[0], tall * grown[1], float(free[0]), float(free[1])


def _of_kiosk(rng: Rng, wide: float, tall: float) -> Reach:
    return wide / 0.8 * rng.uniform(1.2, 1.8), tall * rng.uniform(1.9, 2.8), 0.0, rng.uniform(-0.1, 0.25)


def _of_front(rng: Rng, wide: float, tall: float) -> Reach:
    grown = rng.uniform(1.4, 2.3)
    return wide * grown, tall * rng.uniform(1.9, 3.2), float(rng.uniform(-0.5, 0.5) * (1 - 1 / grown)), 0.1


def _of_stall(rng: Rng, wide: float, tall: float) -> Reach:
    return wide / 0.8 * rng.uniform(1.1, 1.6), tall / 0.5 * rng.uniform(1.1, 1.6), 0.0, 0.45


def _of_awning(rng: Rng, wide: float, tall: float) -> Reach:
    return wide * rng.uniform(1.3, 2.1), tall / 0.55 * rng.uniform(1.15, 1.7), 0.0, 0.4


CARRIERS: dict[str, tuple[Callable[[Rng, RGB], list[Layer]], Callable[[Rng, float, float], Reach]]] = {
    "van": (van, _of_van),
    "bus": (bus, _of_bus),
    "hoarding": (hoarding, _of_board),
    "kiosk": (things.house, _of_kiosk),
    "front": (things.front, _of_front),
    "stall": (stall, _of_stall),
    "awning": (awning, _of_awning),
}

__all__ = ["CARRIERS", "carry", "pick"]
