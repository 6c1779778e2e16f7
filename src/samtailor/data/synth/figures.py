"""Living things: faces, people and animals, as layers in the unit frame."""

from __future__ import annotations

import numpy as np

from samtailor.data.synth import shapes
from samtailor.data.synth.canvas import DECOR, Layer
from samtailor.data.synth.textures import RGB, Material, apart, material, near, rgb, skin

Rng = np.random.Generator


def face(rng: Rng, base: RGB) -> list[Layer]:
    """A head with skin, hair, eyes, nose and mouth; `base` is the color of the hair."""
    tone = skin(rng)
    plain = material(rng, tone, calm=0.3)
    layers = _hair_behind(rng, base) + [Layer([shapes.rect(-0.28, 0.5, 0.28, 1)], plain, DECOR)] * int(
        rng.uniform() < 0.5
    )
    layers.append(Layer([shapes.ellipse(0, 0.1, 0.68, 0.85)], plain, "skin"))
    if rng.uniform() < 0.85:
        fringe = shapes.place(shapes.crescent(rng.uniform(0.1, 0.6)), center=(0, -0.05), scale=(0.75, 0.9))
        layers.append(Layer([fringe], material(rng, base), "hair"))
    return layers + _eyes(rng, tone) + _nose_and_mouth(rng, tone)


def _hair_behind(rng: Rng, base: RGB) -> list[Layer]:
    if rng.uniform() > 0.4:
        return []
    return [Layer([shapes.rounded_rect(-0.85, -0.7, 0.85, rng.uniform(0.4, 1), 0.5)], material(rng, base), "hair")]


def _eyes(rng: Rng, tone: RGB) -> list[Layer]:
    gap, y = rng.uniform(0.25, 0.36), rng.uniform(-0.1, 0.1)
    width, height = rng.uniform(0.12, 0.2), rng.uniform(0.07, 0.15)
    white, iris = (
        material(rng, (240, 238, 232), calm=1),
        material(rng, apart(rng, [(240, 238, 232), tone], 110), calm=1),
    )
    balls = [shapes.ellipse(side * gap, y, width, height, 16) for side in (-1, 1)]
    pupils = Layer([shapes.ellipse(side * gap, y, height * 0.75, height * 0.75, 12) for side in (-1, 1)], iris, DECOR)
    brows = Layer(
        [shapes.rect(s * gap - width, y - 0.24, s * gap + width, y - 0.18) for s in (-1, 1)],
        material(rng, near(rng, (60, 45, 35), 20), calm=1),
        DECOR,
    )
    if rng.uniform() < 0.5:
        return [Layer(balls, white, "eyes"), pupils, brows]
    return [*(Layer([ball], white, "eye") for ball in balls), pupils, brows]


def _nose_and_mouth(rng: Rng, tone: RGB) -> list[Layer]:
    shade = material(rng, near(rng, rgb(0.8 * c for c in tone), 8), calm=0.7)
    nose = np.array([[-0.06, 0], [0.06, 0], [rng.uniform(0.12, 0.2), 0.4], [-rng.uniform(0.12, 0.2), 0.4]])
    lips = material(rng, near(rng, (170, 60, 65), 25), calm=0.8)
    width, height = rng.uniform(0.2, 0.38), rng.uniform(0.06, 0.16)
    return [Layer([nose], shade, "nose"), Layer([shapes.ellipse(0, 0.62, width, height, 20)], lips, "mouth")]


def person(rng: Rng, base: RGB) -> list[Layer]:
    """A standing figure: head, hair, top, trousers or skirt, arms, shoes; `base` is the color of the top."""
    tone, top = material(rng, skin(rng), calm=0.6), material(rng, base)
    below = material(rng, apart(rng, [base]), calm=0.3)
    spread, legs = rng.uniform(0.05, 0.3), []
    feet = [side * (0.12 + spread * rng.uniform(0.5, 1)) for side in (-1, 1)]
    shoe = material(rng, apart(rng, [below.base]), calm=0.6)
    for side, foot in zip((-1, 1), feet, strict=True):
        legs.append(shapes.limb(side * 0.12, 0.1, foot, 0.88, 0.12, 0.09))
    layers = [Layer(legs, below if rng.uniform() < 0.7 else tone, "trousers")]
    layers.append(Layer([shapes.ellipse(x + 0.03, 0.94, 0.14, 0.07, 14) for x in feet], shoe, "shoes"))
    if rng.uniform() < 0.35:
        hem = rng.uniform(0.3, 0.7)
        skirt = np.array([[-0.2, 0], [0.2, 0], [rng.uniform(0.2, 0.45), hem], [-rng.uniform(0.2, 0.45), hem]])
        layers.append(Layer([skirt], below, "skirt"))
    return layers + _arms_and_top(rng, top, tone) + _head(rng, tone)


def _arms_and_top(rng: Rng, top: Material, tone: Material) -> list[Layer]:
    sleeve, layers = rng.uniform() < 0.6, []
    for side in (-1, 1):
        elbow = (side * rng.uniform(0.3, 0.5), rng.uniform(-0.35, -0.1))
        hand = (elbow[0] + side * rng.uniform(-0.25, 0.2), rng.uniform(-0.5, 0.2))
        layers.append(Layer([shapes.limb(*elbow, *hand, 0.07, 0.06)], tone, "arm"))
        layers.append(Layer([shapes.limb(side * 0.24, -0.52, *elbow, 0.09, 0.08)], top if sleeve else tone, DECOR))
    torso = np.array([[-0.28, -0.6], [0.28, -0.6], [rng.uniform(0.18, 0.3), 0.14], [-rng.uniform(0.18, 0.3), 0.14]])
    layers.append(Layer([torso], top, "top"))
    return layers


def _head(rng: Rng, tone: Material) -> list[Layer]:
    hair = material(rng, near(rng, rgb(rng.uniform(0.1, 1) * np.array((150, 110, 70))), 20), calm=0.4)
    long = [Layer([shapes.rounded_rect(-0.19, -0.95, 0.19, -0.4, 0.1)], hair, "hair")] if rng.uniform() < 0.4 else []
    cap = shapes.place(shapes.crescent(rng.uniform(0, 0.4)), center=(0, -0.8), scale=(0.175, 0.19))
    return [
        *long,
        Layer([shapes.ellipse(0, -0.77, 0.155, 0.19), shapes.rect(-0.06, -0.65, 0.06, -0.55)], tone, "head"),
        Layer([cap], hair, "hair"),
    ]


def animal(rng: Rng, base: RGB) -> list[Layer]:
    """A four-legged animal, bird or fish: body, head, legs or fins, tail."""
    coat = material(rng, base)
    other = coat if rng.uniform() < 0.4 else material(rng, apart(rng, [base]))
    body = shapes.place(shapes.blob(rng, 0.15), center=(0, 0), scale=(0.65, 0.35))
    tail = shapes.limb(-0.6, -0.1, -0.95, rng.uniform(-0.6, 0.3), 0.09, 0.05)
    if rng.uniform() < 0.65:
        feet = [shapes.limb(x, 0.15, x + rng.uniform(-0.1, 0.1), 0.9, 0.1, 0.07) for x in (-0.5, -0.3, 0.3, 0.5)]
        lower = Layer(feet, coat, "legs")
    else:
        lower = Layer(
            [np.array([[-0.2, -0.1], [0.2, -0.1], [rng.uniform(-0.5, 0.2), rng.choice([-0.8, 0.8])]])], other, "wing"
        )
        tail = np.array([[-0.55, 0], [-1, -0.4], [-1, 0.4]])
    head = shapes.place(shapes.blob(rng, 0.12), center=(0.7, -0.35), scale=(0.3, 0.28))
    layers = [Layer([tail], other, "tail"), lower, Layer([body], coat, "body"), Layer([head], other, "head")]
    layers.append(Layer([shapes.ellipse(0.78, -0.4, 0.05, 0.05, 10)], material(rng, (15, 15, 15), calm=1), DECOR))
    return layers
