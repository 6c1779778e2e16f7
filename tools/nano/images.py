"""Training images as id maps: procedural scenes and streets with banners, and photographs of dressed people where
their folder is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from samtailor.data.synth import banners, scenes

SMALLEST = (13 / 256) ** 2  # share of the image; a little below what is evaluated
WHOLE = 0.9
HELD_OUT = 10_000_000  # seeds from here on are never trained on


@dataclass
class Image:
    """image ``(H, W, 3)`` uint8 RGB; objects, parts ``(H, W)`` uint8 ids, 0 for none; owner[part] = object.

    complete: whether every thing in it has an id, so that what has none is background. groups: what hangs on what,
    object id to that of its carrier; the two are one group. nested: part id to that of the part it is a part of.
    """

    image: np.ndarray
    objects: np.ndarray
    parts: np.ndarray
    owner: np.ndarray
    complete: bool = True
    groups: dict[int, int] = field(default_factory=dict)
    nested: dict[int, int] = field(default_factory=dict)


def painted(seed: int) -> Image:
    """The procedural scene of this seed at 256 px."""
    canvas = scenes.paint(np.random.default_rng(seed), 256)
    return Image(canvas.image, canvas.objects, canvas.parts, np.array([0, *canvas.part_owner], np.uint8))


def hung(seed: int) -> Image:
    """A street with banners, 240 x 320 px; never one that `banner_scene` draws, whatever its seed."""
    canvas, _ = banners.paint(np.random.default_rng([1, seed]), (240, 320))
    owner = np.array([0, *canvas.part_owner], np.uint8)
    return Image(canvas.image, canvas.objects, canvas.parts, owner, False, canvas.groups, canvas.nested)


class Photographs:
    """Label maps of dressed people: the person is the object, each connected piece of a class a part."""

    def __init__(self, folder: Path, side: int = 384):
        self.items = [self._read(path, folder, side) for path in sorted((folder / "images").glob("*.jpg"))]

    @staticmethod
    def _read(path: Path, folder: Path, side: int) -> Image:
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        classes = cv2.imread(str(folder / "labels" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        zoom = side / max(image.shape[:2])
        image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        classes = cv2.resize(classes, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        parts, count = np.zeros(classes.shape, np.uint8), 0
        for name in np.unique(classes[classes > 0]):
            pieces, labels, stats, _ = cv2.connectedComponentsWithStats((classes == name).astype(np.uint8))
            for piece in range(1, pieces):
                if stats[piece, cv2.CC_STAT_AREA] >= 60 and count < 250:
                    count += 1
                    parts[labels == piece] = count
        return Image(image, (classes > 0).astype(np.uint8), parts, np.array([0] + [1] * count, np.uint8))

    def draw(self, rng: np.random.Generator) -> Image:
        """A random photograph; one in three is cut out and set before the background of a scene."""
        image = self.items[rng.integers(len(self.items))]
        return self._cut_out(rng, image) if rng.uniform() < 0.33 else image

    def _cut_out(self, rng: np.random.Generator, pixels: Image) -> Image:
        scene = painted(int(rng.integers(HELD_OUT)))
        height, width = pixels.image.shape[:2]
        behind = cv2.resize(scene.image, (width, height), interpolation=cv2.INTER_LINEAR)
        cover = cv2.GaussianBlur(pixels.objects * np.float32(1), (0, 0), 0.8)[..., None]
        image = (behind + cover * (pixels.image.astype(np.float32) - behind)).astype(np.uint8)
        return Image(image, pixels.objects, pixels.parts, pixels.owner)


def stream(
    seed: int, photographs: Photographs | None, share: float, streets: float, reuse: int, pool: int = 600
) -> Iterator[tuple[np.random.Generator, Image]]:
    """Endless (generator, image): a fresh one in every ``reuse`` draws, the others from the last ``pool`` ones.

    ``share`` of the draws are photographs, ``streets`` of what is painted are streets with banners.
    """
    rng, kept = np.random.default_rng(seed), []
    while True:
        if photographs is not None and rng.uniform() < share:
            yield rng, photographs.draw(rng)
        elif len(kept) < 50 or rng.uniform() < 1 / reuse:
            fresh = (hung if rng.uniform() < streets else painted)(int(rng.integers(HELD_OUT)))
            kept = [*kept[-pool + 1 :], fresh]
            yield rng, fresh
        else:
            yield rng, kept[rng.integers(len(kept))]


def vary(rng: np.random.Generator, pixels: Image, size: int) -> Image:
    """A ``size`` x ``size`` view: zoom, stretch, shift, mirror and recolour; what lies outside is the mean colour."""
    height, width = pixels.image.shape[:2]
    fit = size / max(height, width) if rng.uniform() < 0.6 else size / min(height, width)
    stretch = np.exp(rng.normal(0, 0.12))
    zoom = fit * (1.0 if rng.uniform() < 0.4 else np.exp(rng.uniform(-0.15, 0.45)))
    sx, sy = zoom * stretch * rng.choice([-1, 1]), zoom / stretch
    free = np.array([size - abs(sx) * width, size - sy * height])
    corner = free * rng.uniform(0, 1, 2) if rng.uniform() < 0.7 else np.zeros(2)
    move = np.array([[sx, 0, corner[0] + (abs(sx) * width if sx < 0 else 0)], [0, sy, corner[1]]])
    nearest = {"flags": cv2.INTER_NEAREST, "borderMode": cv2.BORDER_CONSTANT, "borderValue": 0}
    image = pixels.image if zoom > 0.6 else cv2.blur(pixels.image, (2, 2))
    image = cv2.warpAffine(
        image, move, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(124, 116, 104)
    )
    objects, parts = (cv2.warpAffine(m, move, (size, size), **nearest) for m in (pixels.objects, pixels.parts))
    return replace(pixels, image=_recolour(rng, image), objects=objects, parts=parts)


def _recolour(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    if rng.uniform() < 0.15:
        image = image[..., rng.permutation(3)]
    if rng.uniform() < 0.5:
        gain = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.06, 3))
        table = np.arange(256)[:, None] * gain + rng.normal(0, 8)
        image = cv2.LUT(np.ascontiguousarray(image), np.clip(table, 0, 255).astype(np.uint8)[None])
    if rng.uniform() < 0.1:
        image = 255 - image
    return image
