"""Backgrounds of banners: house fronts, streets, parks, determined by a seed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from samtailor.data.synth import shapes, textures, things
from samtailor.data.synth.canvas import Canvas, Layer, blend
from samtailor.data.synth.textures import RGB, Material, near, rgb

Rng = np.random.Generator

# plaster, brick, concrete, sandstone; old rose, ochre, slate, white
_WALLS: tuple[RGB, ...] = (
    (205, 195, 175),
    (150, 85, 65),
    (150, 150, 148),
    (190, 165, 130),
    (190, 145, 130),
    (200, 165, 100),
    (105, 110, 118),
    (228, 226, 220),
)


@dataclass(frozen=True)
class Backdrop:
    """A background without banners.

    Args:
        image: uint8 RGB (height, width, 3).
        wall: whether there is a wall close behind, for shadows and ropes.
        ground: first row of the ground (the height if there is none).
    """

    image: np.ndarray
    wall: bool
    ground: int


def street(rng: Rng, size: tuple[int, int]) -> Backdrop:
    """A random background of `size` (height, width): a near house front, a row of houses, or a park."""
    kind = rng.choice(["front", "row", "park"], p=[0.45, 0.33, 0.22])
    return {"front": _front, "row": _row, "park": _park}[kind](rng, *size)


def _front(rng: Rng, height: int, width: int) -> Backdrop:
    """A wall that fills the image, sometimes in oblique view, with pavement below."""
    ground = int(height * rng.uniform(0.78, 0.95)) if rng.uniform() < 0.7 else height
    image = np.empty((height, width, 3), np.uint8)
    story = height * rng.uniform(0.28, 0.6)
    _house(rng, image[:ground], story, shop=ground < height and rng.uniform() < 0.6)
    if rng.uniform() < 0.5:
        image[:ground] = _aslant(rng, image[:ground])
    if ground < height:
        _pavement(rng, image[ground:])
    return Backdrop(image, True, ground)


def _row(rng: Rng, height: int, width: int) -> Backdrop:
    """Houses side by side across the street, under the sky."""
    ground = int(height * rng.uniform(0.6, 0.85))
    image = np.empty((height, width, 3), np.uint8)
    _sky(rng, image[:ground])
    x = 0
    while x < width:
        right = min(x + int(width * rng.uniform(0.18, 0.5)), width)
        top = int(ground * rng.uniform(0.02, 0.45))
        if rng.uniform() < 0.9 and right - x > 12:
            _house(rng, image[top:ground, x:right], ground * rng.uniform(0.14, 0.3), shop=rng.uniform() < 0.5)
        x = right
    _road(rng, image[ground:])
    _stand(
        rng, image, ground, height * rng.uniform(0.1, 0.2), ["car", "car", "plant", "person"], int(rng.integers(1, 5))
    )
    return Backdrop(image, rng.uniform() < 0.5, ground)


def _park(rng: Rng, height: int, width: int) -> Backdrop:
    """Sky, a line of trees, grass."""
    ground = int(height * rng.uniform(0.5, 0.75))
    image = np.empty((height, width, 3), np.uint8)
    _sky(rng, image[:ground])
    _treeline(rng, image, ground)
    grass = near(rng, (95, 125, 65), 18)
    image[ground:] = Material("mottled", grass, near(rng, grass, 25), 1.0, height / 25, 0.0).fill(
        rng, height - ground, width
    )
    if rng.uniform() < 0.5:
        x, lean = rng.uniform(0, width), rng.normal(0, width * 0.3)
        path = np.array([[x, ground], [x + width * 0.06, ground], [x + lean + width * 0.3, height], [x + lean, height]])
        cv2.fillPoly(image, [path.astype(np.int32)], near(rng, (185, 170, 140), 12), cv2.LINE_AA)
    _stand(rng, image, ground, height * rng.uniform(0.1, 0.25), ["plant", "plant", "person"], int(rng.integers(1, 5)))
    return Backdrop(image, False, ground)


def _sky(rng: Rng, image: np.ndarray) -> None:
    """Blue, gray or evening sky, paler towards the horizon, sometimes with clouds."""
    height, width = image.shape[:2]
    top = near(rng, ((110, 160, 215), (170, 180, 190), (150, 140, 175))[rng.choice(3, p=[0.6, 0.3, 0.1])], 12)
    pale = near(rng, rgb(0.45 * c + 130 for c in top), 6)
    ramp = np.linspace(top, pale, height, dtype=np.float32)
    image[:] = ramp[:, None].astype(np.uint8)
    if rng.uniform() < 0.5:
        cover = 320 * textures.clouds(rng, height, width, height / rng.uniform(2, 6)) - 150
        blend(image, np.full_like(image, 238), np.clip(cover, 0, 220).astype(np.uint8))


def _house(rng: Rng, image: np.ndarray, story: float, *, shop: bool) -> None:
    """Paint a house front over the whole image: wall, stories of windows, a shop in the lowest one."""
    height = image.shape[0]
    base = near(rng, _WALLS[rng.integers(len(_WALLS))], 14)
    _wall(rng, image, base)
    if rng.uniform() < 0.12 and not shop:
        return  # a blind gable
    low = height
    if shop:
        low = int(height - min(story * 1.1, height * 0.4))
        _shop(rng, image[low:], base)
    if rng.uniform() < 0.4:
        ledge = max(int(story * 0.03), 1)
        image[max(low - ledge, 0) : low] = near(rng, rgb(0.8 * c for c in base), 8)
    _windows(rng, image[:low], base, story)


def _wall(rng: Rng, image: np.ndarray, base: RGB) -> None:
    height, width = image.shape[:2]
    scale = max(height, width) / 256
    if rng.uniform() < 0.4:
        image[:] = Material("mottled", base, near(rng, base, 14), 1.0, 14 * scale, 0.0).fill(rng, height, width)
        course = max(scale * rng.uniform(2.2, 5), 3)
        joint = near(rng, rgb(0.85 * c + 10 for c in base), 6)
        for i, y in enumerate(np.arange(0, height, course)):
            cv2.line(image, (0, int(y)), (width, int(y)), joint, 1)
            for x in np.arange((i % 2) * course * 1.2, width, course * 2.4) if course > 5 else ():
                cv2.line(image, (int(x), int(y)), (int(x), int(y + course)), joint, 1)
        return
    kind = str(rng.choice(["mottled", "grain", "gradient", "stripes"], p=[0.5, 0.2, 0.2, 0.1]))
    angle = float(rng.choice([0.0, np.pi / 2]))
    image[:] = Material(kind, base, near(rng, base, 12), 1.0, rng.uniform(6, 30) * scale, angle).fill(
        rng, height, width
    )


def _windows(rng: Rng, image: np.ndarray, base: RGB, story: float) -> None:
    """A grid of windows with frames, sills and sometimes blinds, each with its own light."""
    height, width = image.shape[:2]
    pane_height = story * rng.uniform(0.45, 0.65)
    pane_width = pane_height * rng.uniform(0.5, 1.1)
    step = pane_width * rng.uniform(1.5, 2.4)
    glass = near(rng, ((70, 85, 100), (110, 130, 150), (45, 48, 55))[rng.integers(3)], 10)
    frame = near(rng, (230, 228, 222) if rng.uniform() < 0.6 else (80, 65, 55), 10)
    thick = max(int(pane_width * 0.07), 1)
    for y in np.arange(story * 0.2, height - pane_height * 0.6, story):
        for x in np.arange(step * rng.uniform(0.2, 0.3), width - pane_width * 0.5, step):
            if rng.uniform() < 0.06:
                continue
            a, b = (int(x), int(y)), (int(x + pane_width), int(y + pane_height))
            cv2.rectangle(image, a, b, near(rng, glass, 14), -1)
            if rng.uniform() < 0.25:  # a blind or a curtain
                cv2.rectangle(
                    image, a, (b[0], int(y + pane_height * rng.uniform(0.2, 0.8))), near(rng, (215, 208, 195), 10), -1
                )
            cv2.rectangle(image, a, b, frame, thick)
            middle = (a[0] + b[0]) // 2
            cv2.line(image, (middle, a[1]), (middle, b[1]), frame, thick)
            cv2.line(
                image,
                (a[0] - thick, b[1] + thick),
                (b[0] + thick, b[1] + thick),
                near(rng, rgb(0.75 * c for c in base), 4),
                thick,
            )


def _shop(rng: Rng, image: np.ndarray, base: RGB) -> None:
    """A ground floor of glass, doors and sometimes a striped awning."""
    height, width = image.shape[:2]
    trim = near(rng, (60, 55, 50) if rng.uniform() < 0.6 else rgb(0.6 * c for c in base), 12)
    x, top = 0, int(height * rng.uniform(0.2, 0.32))
    image[:top] = near(rng, trim, 10)
    while x < width:
        right = min(x + int(height * rng.uniform(0.5, 1.3)), width)
        glass = near(rng, (70, 80, 88), 14)
        image[top:, x:right] = Material("gradient", glass, near(rng, glass, 25), 1.0, 1.0, 1.2).fill(
            rng, height - top, right - x
        )
        cv2.rectangle(image, (x, top), (right, height), trim, max(int(height * 0.04), 1))
        x = right
    if rng.uniform() < 0.4:
        awning = near(rng, (150, 60, 50) if rng.uniform() < 0.5 else (60, 100, 75), 20)
        drop, stripes = (
            int(height * rng.uniform(0.3, 0.45)),
            Material("stripes", awning, (232, 228, 215), 1.0, height * 0.16, 0.0),
        )
        image[int(top * 0.5) : drop] = stripes.fill(rng, max(drop - int(top * 0.5), 0), width)


def _pavement(rng: Rng, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    stone = near(rng, (150, 146, 140), 14)
    image[:] = Material("mottled", stone, near(rng, stone, 12), 1.0, max(width / 30, 4), 0.0).fill(rng, height, width)
    vanishing = rng.uniform(0.2, 0.8) * width
    for x in np.linspace(-width, 2 * width, 22):
        cv2.line(
            image,
            (int(x), height),
            (int(vanishing + (x - vanishing) * 0.6), 0),
            near(rng, rgb(0.88 * c for c in stone), 3),
            1,
            cv2.LINE_AA,
        )


def _road(rng: Rng, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    curb = max(int(height * rng.uniform(0.1, 0.25)), 1)
    _pavement(rng, image[:curb])
    asphalt = near(rng, (92, 92, 95), 12)
    image[curb:] = Material("grain", asphalt, near(rng, asphalt, 14), 1.0, 2.0, 0.0).fill(rng, height - curb, width)
    image[curb : curb + max(height // 40, 1)] = near(rng, (170, 168, 162), 6)
    if rng.uniform() < 0.6:
        y, dash = int(curb + (height - curb) * rng.uniform(0.4, 0.7)), width / rng.uniform(5, 9)
        for x in np.arange(rng.uniform(-dash, 0), width, dash):
            cv2.rectangle(image, (int(x), y), (int(x + dash * 0.5), y + max(height // 30, 1)), (215, 213, 205), -1)


def _treeline(rng: Rng, image: np.ndarray, ground: int) -> None:
    height, width = image.shape[:2]
    for shade in (0.75, 1.0):
        leaf = near(rng, rgb(shade * c for c in (80, 105, 62)), 12)
        x = -width * 0.05
        while x < width * 1.05:
            reach = height * rng.uniform(0.06, 0.2)
            crown = shapes.place(
                shapes.blob(rng, 0.25), center=(x, ground - reach * 0.6), scale=(reach, reach * rng.uniform(0.8, 1.4))
            )
            cv2.fillPoly(image, [np.round(crown * 16).astype(np.int32)], near(rng, leaf, 7), cv2.LINE_AA, 4)
            x += reach * rng.uniform(0.7, 1.6)


def _stand(rng: Rng, image: np.ndarray, ground: int, reach: float, names: list[str], count: int) -> None:
    """Add small cars, people and plants on the ground, as part of the background."""
    height, width = image.shape[:2]
    side = max(height, width)
    canvas = Canvas.on(np.zeros((side, side, 3), np.uint8))
    canvas.image[:height, :width] = image
    for name in (str(n) for n in rng.choice(names, count)):
        layers = _tree(rng) if name == "plant" else things.catalog()[name][1](rng, textures.color(rng))
        tall = reach * {"car": 0.5, "person": 0.8, "plant": 1.2}[name]
        wide = tall * {"car": 1.9, "person": 0.75, "plant": 0.8}[name]
        base = ground + (height - ground) * rng.uniform(0.02, 0.3)
        canvas.add(rng, name, layers, center=(rng.uniform(0, width), base - tall * 0.75), scale=(wide, tall))
    image[:] = canvas.image[:height, :width]


def _tree(rng: Rng) -> list[Layer]:
    """A trunk and a crown of a few leafy blobs, in the unit frame."""
    leaf = near(
        rng, ((80, 110, 55), (105, 125, 60), (60, 90, 60), (165, 120, 60))[rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])], 12
    )
    crown = [
        shapes.place(
            shapes.blob(rng, 0.25),
            center=(rng.normal(0, 0.2), rng.normal(-0.4, 0.15)),
            scale=tuple(rng.uniform(0.45, 0.75, 2)),
        )
        for _ in range(3)
    ]
    bark = Material("flat", near(rng, (90, 72, 55), 10), (0, 0, 0), 0.0, 1.0, 0.0)
    mottled = Material("mottled", leaf, near(rng, leaf, 22), 1.0, rng.uniform(5, 12), 0.0)
    return [Layer([shapes.rect(-0.07, 0, 0.07, 0.8)], bark), Layer(crown, mottled)]


def _aslant(rng: Rng, image: np.ndarray) -> np.ndarray:
    """A house front in oblique view: one edge is larger than the other, and the image remains filled."""
    height, width = image.shape[:2]
    near_edge, far_edge = rng.uniform(0.05, 0.3), rng.uniform(0, 0.1)
    left, right = (near_edge, far_edge) if rng.uniform() < 0.5 else (far_edge, near_edge)
    after = np.array(
        [
            [0, -left * height],
            [width, -right * height],
            [width, height * (1 + right * 0.3)],
            [0, height * (1 + left * 0.3)],
        ]
    )
    before = np.array([[0, 0], [width, 0], [width, height], [0, height]])
    turned = cv2.getPerspectiveTransform(before.astype(np.float32), after.astype(np.float32))
    return cv2.warpPerspective(image, turned, (width, height), borderMode=cv2.BORDER_REPLICATE)


__all__ = ["Backdrop", "street"]
