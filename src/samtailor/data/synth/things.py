"""Objects of scenes: each function makes a random one, as layers in the unit frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from samtailor.data.synth import shapes, textures
from samtailor.data.synth.canvas import DECOR, Layer
from samtailor.data.synth.textures import RGB, Material, apart, material, near, rgb

Rng = np.random.Generator


def silhouette(rng: Rng) -> np.ndarray:
    """A random simple outline (N, 2) in the unit frame."""
    kind = rng.integers(8)
    if kind <= 2:
        return shapes.blob(rng, rng.uniform(0.1, 0.45))
    if kind == 3:
        return shapes.ellipse()
    if kind == 4:
        return shapes.rounded_rect(-1, -1, 1, 1, rng.uniform(0, 0.6))
    if kind == 5:
        return shapes.polygon(rng, int(rng.integers(3, 9)))
    if kind == 6:
        return shapes.star(int(rng.integers(4, 9)), rng.uniform(0.35, 0.75))
    return shapes.rect(-1, -1, 1, 1)


def patched(rng: Rng, base: RGB) -> list[Layer]:
    """A simple outline with up to four patches."""
    layers = [Layer([silhouette(rng)], material(rng, base))]
    for _ in range(int(rng.choice(5, p=[0.4, 0.25, 0.2, 0.1, 0.05]))):
        reach = rng.uniform(0.25, 0.55)
        where = (rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5))
        patch = shapes.place(
            silhouette(rng), center=where, scale=(reach, reach * rng.uniform(0.5, 1.2)), angle=rng.uniform(0, 3)
        )
        layers.append(Layer([patch], material(rng, apart(rng, [base])), "patch", clip=True))
    return layers


def banded(rng: Rng, base: RGB) -> list[Layer]:
    """An outline crossed by bands or split in two halves: vases, balls, flags, pills."""
    layers = [Layer([silhouette(rng)], material(rng, base, calm=0.3))]
    cuts = np.sort(rng.uniform(-0.9, 0.9, int(rng.choice([1, 2, 2, 4]))))
    edges = [*cuts, 1.7] if len(cuts) == 1 else cuts
    for low, high in zip(edges[::2], edges[1::2], strict=True):
        band = shapes.rect(-1.7, low, 1.7, max(high, low + 0.2))
        layers.append(Layer([band], material(rng, apart(rng, [base]), calm=0.3), "band", clip=True))
    return layers


def house(rng: Rng, base: RGB) -> list[Layer]:
    """Walls, roof, a door and windows; walls count as a part."""
    eaves = rng.uniform(-0.5, -0.1)
    wall = Layer([shapes.rect(-0.8, eaves, 0.8, 1)], material(rng, base), "wall")
    peak = (
        np.array([[-1, eaves], [1, eaves], [rng.uniform(-0.4, 0.4), -1]])
        if rng.uniform() < 0.6
        else np.array([[-1, eaves], [1, eaves], [0.7, -1], [-0.7, -1]])
    )
    layers = [wall, Layer([peak], material(rng, apart(rng, [base])), "roof")]
    door = rng.uniform(-0.6, 0.3)
    layers.append(Layer([shapes.rect(door, 0.35, door + 0.35, 1)], material(rng, apart(rng, [base]), calm=0.5), "door"))
    glass = material(rng, apart(rng, [base]), calm=0.6)
    columns, low = int(rng.integers(1, 4)), eaves + 0.12
    for x in np.linspace(-0.7, 0.35, columns) if columns > 1 else [rng.uniform(-0.5, 0.2)]:
        layers.append(Layer([shapes.rect(x, low, x + 0.33, low + 0.35)], glass, "window", clip=True))
    return layers


def front(rng: Rng, base: RGB) -> list[Layer]:
    """A building front: rows of windows, a door, a signboard."""
    layers = [Layer([shapes.rect(-1, -1, 1, 1)], material(rng, base))]
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(2, 5))
    glass, step, bottom = material(rng, apart(rng, [base]), calm=0.5), 1.8 / columns, 0.3
    for row in range(rows):
        y = -0.9 + row * (bottom + 0.9) / rows
        for column in range(columns):
            x = -0.9 + column * step
            pane = shapes.rect(x + 0.15 * step, y, x + 0.85 * step, y + 0.7 * (bottom + 0.9) / rows)
            layers.append(Layer([pane], glass, "window"))
    board = material(rng, apart(rng, [base]), calm=0.7)
    layers.append(Layer([shapes.rect(-0.85, 0.32, 0.85, 0.55)], board, "signboard"))
    layers.append(Layer(writing(rng, -0.7, 0.37, 0.7, 0.5, 1), material(rng, apart(rng, [board.base]), calm=1), DECOR))
    door = rng.uniform(-0.7, 0.3)
    layers.append(Layer([shapes.rect(door, 0.6, door + 0.4, 1)], material(rng, apart(rng, [base]), calm=0.5), "door"))
    return layers


def car(rng: Rng, base: RGB) -> list[Layer]:
    """A car from the side or from behind, with wheels, windows and a license plate."""
    return car_side(rng, base) if rng.uniform() < 0.5 else car_rear(rng, base)


def car_side(rng: Rng, base: RGB) -> list[Layer]:
    """A car from the side."""
    glass, tire = material(rng, apart(rng, [base]), calm=0.7), material(rng, (30, 30, 32), calm=0.7)
    nose, tail = rng.uniform(0.4, 0.7), rng.uniform(-0.9, -0.5)
    cabin = np.array([[tail, 0], [tail + 0.25, -0.6], [nose - 0.35, -0.6], [nose, 0]])
    layers = [Layer([shapes.rounded_rect(-1, -0.1, 1, 0.5, 0.2), cabin], material(rng, base, calm=0.6))]
    layers.append(Layer([cabin * (0.8, 0.75) + (0.0, -0.08)], glass, "window"))
    for x in (-0.55, 0.55):
        layers.append(Layer([shapes.ellipse(x, 0.5, 0.22, 0.27)], tire, "wheel"))
        layers.append(Layer([shapes.ellipse(x, 0.5, 0.1, 0.12)], material(rng, (170, 170, 175), calm=1), DECOR))
    return layers


def car_rear(rng: Rng, base: RGB) -> list[Layer]:
    """A car from behind or from the front."""
    glass, tire = material(rng, apart(rng, [base]), calm=0.7), material(rng, (30, 30, 32), calm=0.7)
    layers = [Layer([shapes.rect(x, 0.4, x + 0.25, 0.85) for x in (-0.85, 0.6)], tire)]
    roof = np.array([[-0.85, 0], [-0.6, -0.75], [0.6, -0.75], [0.85, 0]])
    layers.append(Layer([shapes.rounded_rect(-1, -0.15, 1, 0.65, 0.2), roof], material(rng, base, calm=0.6)))
    layers.append(Layer([roof * (0.85, 0.8) + (0, -0.08)], glass, "window"))
    lamp = material(rng, (200, 40, 30) if rng.uniform() < 0.6 else (240, 235, 200), calm=0.8)
    layers += [Layer([shapes.rounded_rect(x, 0, x + 0.25, 0.2, 0.08)], lamp, "lamp") for x in (-0.92, 0.67)]
    layers.append(Layer([shapes.rect(-0.32, 0.2, 0.32, 0.42)], material(rng, (235, 235, 225), calm=1), "plate"))
    layers.append(Layer(writing(rng, -0.27, 0.24, 0.27, 0.38, 1), material(rng, (20, 20, 30), calm=1), DECOR))
    return layers


def bottle(rng: Rng, base: RGB) -> list[Layer]:
    """A bottle or jar with a cap and a label."""
    neck, shoulder = rng.uniform(0.15, 0.35), rng.uniform(-0.5, -0.2)
    body = np.array(
        [
            [-neck, -0.85],
            [neck, -0.85],
            [neck, shoulder - 0.15],
            [0.55, shoulder + 0.1],
            [0.55, 1],
            [-0.55, 1],
            [-0.55, shoulder + 0.1],
            [-neck, shoulder - 0.15],
        ]
    )
    layers = [Layer([body], material(rng, base, calm=0.5))]
    cap = shapes.rect(-neck - 0.03, -1, neck + 0.03, -0.75)
    layers.append(Layer([cap], material(rng, apart(rng, [base]), calm=0.8), "cap"))
    paper = material(rng, apart(rng, [base]), calm=0.4)
    layers.append(Layer([shapes.rect(-0.55, 0, 0.55, rng.uniform(0.4, 0.85))], paper, "label"))
    layers.append(Layer(writing(rng, -0.4, 0.08, 0.4, 0.33, 2), material(rng, apart(rng, [paper.base]), calm=1), DECOR))
    return layers


def sign(rng: Rng, base: RGB) -> list[Layer]:
    """A sign on a post; the board is a part."""
    layers = [Layer([shapes.rect(-0.08, -0.2, 0.08, 1)], material(rng, near(rng, (110, 105, 100), 40), calm=0.6))]
    outline = silhouette(rng) if rng.uniform() < 0.5 else shapes.rounded_rect(-1, -1, 1, 1, 0.2)
    layers.append(
        Layer([shapes.place(outline, center=(0, -0.4), scale=(0.8, 0.55))], material(rng, base, calm=0.6), "board")
    )
    ink = material(rng, apart(rng, [base], 110), calm=1)
    layers.append(Layer(writing(rng, -0.5, -0.6, 0.5, -0.2, int(rng.integers(1, 4))), ink, DECOR, clip=True))
    return layers


def banner(rng: Rng, base: RGB) -> list[Layer]:
    """A hanging or slanted banner: text, an image, a stripe."""
    slant = rng.uniform(-0.2, 0.2, (4, 2))
    outline = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) + slant
    layers = [Layer([outline], material(rng, base, calm=0.6))]
    ink = material(rng, apart(rng, [base], 110), calm=1)
    layers.append(Layer(writing(rng, -0.8, -0.7, 0.8, 0.1, int(rng.integers(1, 4))), ink, DECOR, clip=True))
    if rng.uniform() < 0.6:
        image = shapes.place(silhouette(rng), center=(rng.uniform(-0.4, 0.4), 0.5), scale=(0.35, 0.35))
        layers.append(Layer([image], material(rng, apart(rng, [base])), "image", clip=True))
    if rng.uniform() < 0.4:
        layers.append(Layer([shapes.rect(-1.3, 0.6, 1.3, 1.3)], material(rng, apart(rng, [base])), "stripe", clip=True))
    return layers


def writing(rng: Rng, x0: float, y0: float, x1: float, y1: float, lines: int) -> list[np.ndarray]:
    """Outlines that resemble `lines` lines of text in a rectangle of the unit frame."""
    height, strokes = (y1 - y0) / lines, []
    for line in range(lines):
        y, x = y0 + line * height, x0
        end = x1 - rng.uniform(0, 0.3) * (x1 - x0)
        while x < end:
            width = height * rng.uniform(0.2, 0.55)
            top = y + height * rng.choice([0.1, 0.3])
            strokes.append(shapes.rect(x, top, x + width * 0.75, y + height * 0.8))
            x += width * (1.8 if rng.uniform() < 0.2 else 1.0)
    return strokes or [shapes.rect(x0, y0, x1, y1)]


def plant(rng: Rng, base: RGB) -> list[Layer]:
    """A tree, a potted plant or a flower."""
    if rng.uniform() < 0.6:
        crown = shapes.place(shapes.blob(rng, 0.4), center=(0, -0.35), scale=(0.8, 0.6))
        stem = material(rng, near(rng, (95, 70, 45), 25))
        return [Layer([shapes.rect(-0.12, 0, 0.12, 1)], stem, "trunk"), Layer([crown], material(rng, base), "crown")]
    count = int(rng.integers(5, 9))
    petals = [
        shapes.place(shapes.ellipse(), center=(0.6 * np.cos(t), 0.6 * np.sin(t)), scale=(0.4, 0.24), angle=t)
        for t in np.arange(count) * 2 * np.pi / count
    ]
    heart = shapes.ellipse(0, 0, 0.3, 0.3)
    return [Layer(petals, material(rng, base, calm=0.5)), Layer([heart], material(rng, apart(rng, [base])), "heart")]


def vessel(rng: Rng, base: RGB) -> list[Layer]:
    """A cup, pot or bag: body and handle, sometimes with an image."""
    body, handle = (
        material(rng, base, calm=0.4),
        material(rng, base if rng.uniform() < 0.6 else apart(rng, [base]), calm=0.6),
    )
    if rng.uniform() < 0.5:
        loop = shapes.place(shapes.ring(0.65), center=(0.65, 0.1), scale=(0.35, 0.5))
        hull = np.array([[-0.8, -0.9], [0.65, -0.9], [rng.uniform(0.3, 0.65), 1], [-rng.uniform(0.4, 0.8), 1]])
    else:
        loop = shapes.place(shapes.ring(0.75), center=(0, -0.4), scale=(0.5, 0.6))
        hull = shapes.rounded_rect(-1, -0.3, 1, 1, 0.25)
    layers = [Layer([loop], handle, "handle"), Layer([hull], body)]
    if rng.uniform() < 0.5:
        where = (rng.uniform(-0.3, 0.2), rng.uniform(0.1, 0.5))
        image = shapes.place(silhouette(rng), center=where, scale=(0.35, 0.3))
        layers.append(Layer([image], material(rng, apart(rng, [base])), "image", clip=True))
    return layers


def box(rng: Rng, base: RGB) -> list[Layer]:
    """A box in oblique view: three faces of one color in different light."""
    depth, rise = rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.6)
    x, y = 1 - depth, -1 + rise
    faces = {
        "front": [[-1, y], [x, y], [x, 1], [-1, 1]],
        "top": [[-1, y], [-1 + depth, -1], [1, -1], [x, y]],
        "side": [[x, y], [1, -1], [1, 1 - rise], [x, 1]],
    }
    light = rng.permutation([1.0, rng.uniform(1.15, 1.4), rng.uniform(0.5, 0.8)])
    surface = material(rng, base, calm=0.5)
    return [
        Layer([np.array(corners)], _lit(surface, gain), name)
        for (name, corners), gain in zip(faces.items(), light, strict=True)
    ]


def _lit(surface: Material, gain: float) -> Material:
    """The same surface with its light multiplied by `gain`."""
    base, second = (rgb(np.clip(np.array(c) * gain, 0, 255)) for c in (surface.base, surface.second))
    return Material(surface.kind, base, second, surface.contrast, surface.period, surface.angle)


def cell(rng: Rng, base: RGB) -> list[Layer]:
    """A cell, coin or fruit: a roundish outline, sometimes with a nucleus."""
    layers = [Layer([shapes.blob(rng, 0.12)], material(rng, base, calm=0.5))]
    if rng.uniform() < 0.3:
        heart = shapes.place(
            shapes.blob(rng, 0.15), center=(rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2)), scale=(0.45, 0.45)
        )
        layers.append(Layer([heart], material(rng, apart(rng, [base]), calm=0.5), "nucleus", clip=True))
    return layers


def lesion(rng: Rng, base: RGB) -> list[Layer]:
    """An irregular blotch with darker patches, which are no parts."""
    layers = [
        Layer(
            [shapes.blob(rng, 0.35)],
            textures.Material("mottled", base, near(rng, base, 50), 1.0, rng.uniform(6, 30), 0.0),
        )
    ]
    for _ in range(int(rng.integers(0, 4))):
        spot = shapes.place(shapes.blob(rng, 0.4), center=tuple(rng.uniform(-0.5, 0.5, 2)), scale=(0.35, 0.3))
        layers.append(Layer([spot], material(rng, near(rng, base, 25)), DECOR, clip=True))
    return layers


def catalog() -> dict[str, tuple[float, Callable[[Rng, RGB], list[Layer]]]]:
    """All objects by name, with their odds in a mixed scene."""
    from samtailor.data.synth import figures

    return {
        "shape": (5.0, patched),
        "banded": (1.5, banded),
        "house": (1.0, house),
        "front": (0.8, front),
        "car": (1.5, car),
        "bottle": (1.0, bottle),
        "sign": (1.0, sign),
        "banner": (1.0, banner),
        "plant": (1.2, plant),
        "vessel": (1.2, vessel),
        "box": (0.8, box),
        "cell": (1.0, cell),
        "lesion": (0.4, lesion),
        "face": (1.6, figures.face),
        "person": (2.2, figures.person),
        "animal": (1.2, figures.animal),
    }
