"""Cut-out objects and layered drawings pasted onto backgrounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from bundled_base.images import Labelled, Rng


@dataclass
class CutOut:
    """An object without its background.

    Args:
        image: (H, W, 4) uint8 RGBA.
        regions: (H, W) part ids, 0 for what is the object itself.
        parents: surrounding part of each part, 0 for none; index 0 is unused.
        sources: names of the data sources it comes from.
    """

    image: np.ndarray
    regions: np.ndarray
    parents: np.ndarray
    sources: tuple[str, ...] = ()


class Drawings:
    """Prepared drawings of `bundled_base.drawings`."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.npz"))

    def draw(self, rng: Rng) -> CutOut:
        """A random drawing."""
        with np.load(self.paths[rng.integers(len(self.paths))]) as file:
            return CutOut(file["image"], file["regions"], file["parents"], ("drawings",))


def cut_out(labelled: Labelled, number: int, margin: int = 4) -> CutOut:
    """One object of an image with its parts."""
    mask = (labelled.objects == number).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(mask)
    rows, columns = slice(max(0, y - margin), y + h + margin), slice(max(0, x - margin), x + w + margin)
    mask = mask[rows, columns]
    alpha = np.clip(cv2.GaussianBlur(mask * 255.0, (0, 0), 0.8) * 1.3 - 50, 0, 255).astype(np.uint8)
    parts = np.where(mask > 0, labelled.parts[rows, columns], 0)
    present = np.unique(parts)[:255]
    regions = np.searchsorted(present, np.where(np.isin(parts, present), parts, 0)).astype(np.uint8)
    first = 0 if present[0] == 0 else 1
    known = {int(p): i + first for i, p in enumerate(present)}
    parents = np.zeros(len(present) + first, np.uint8)
    for part, index in known.items():
        parents[index] = known.get(labelled.nested.get(part, 0), 0) if part else 0
    image = np.dstack([labelled.image[rows, columns], alpha])
    return CutOut(image, np.where(mask > 0, regions + first, 0).astype(np.uint8), parents, labelled.sources)


def paste(rng: Rng, onto: Labelled, items: list[CutOut]) -> Labelled:
    """Paste cut-outs in random places, later ones in front, each an object with its parts."""
    image, objects, parts = (m.copy() for m in (onto.image, onto.objects, onto.parts))
    owner, nested = dict(onto.owner), dict(onto.nested)
    sources = dict.fromkeys(name for one in (*items, onto) for name in one.sources)
    for item in items:
        rgba, regions = _place(rng, item, image.shape[:2], len(items))
        solid = rgba[..., 3] > 127
        if solid.sum() < 60:
            continue
        image = _blend(rng, image, rgba)
        number, offset = int(objects.max()) + 1, int(parts.max())
        objects[solid] = number
        parts[solid] = np.where(regions[solid] > 0, regions[solid].astype(np.uint16) + offset, 0)
        owner |= {offset + r: number for r in range(1, len(item.parents))}
        nested |= {offset + r: offset + int(p) for r, p in enumerate(item.parents) if p}
    return Labelled(image, objects, parts, owner, onto.complete, dict(onto.groups), nested, tuple(sources), onto.boxed)


def _place(rng: Rng, item: CutOut, shape: tuple[int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """RGBA and regions of one cut-out, scaled, turned, mirrored and moved on a canvas of this shape."""
    height, width = item.regions.shape
    reach = min(shape) * (rng.uniform(0.35, 1.05) if count == 1 else rng.uniform(0.15, 0.75))
    zoom = reach / max(height, width)
    scale = zoom * np.exp(rng.normal(0, 0.12, 2)) * [rng.choice([-1, 1]), 1]
    angle = np.deg2rad(rng.normal(0, 15)) if rng.uniform() < 0.6 else rng.uniform(0, 2 * np.pi) * (rng.uniform() < 0.2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag(scale)
    goal = np.array([shape[1], shape[0]]) * rng.uniform(0.15, 0.85, 2)
    move = np.column_stack([matrix, goal - matrix @ [width / 2, height / 2]])
    source = item.image if zoom > 0.7 else cv2.blur(item.image, (2, 2))
    size = (shape[1], shape[0])
    rgba = cv2.warpAffine(source, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    regions = cv2.warpAffine(item.regions, move, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return rgba, regions


def _blend(rng: Rng, image: np.ndarray, rgba: np.ndarray) -> np.ndarray:
    """Alpha blending with a random tint, light gradient, texture and soft shadow."""
    cover = rgba[..., 3:].astype(np.float32) / 255
    color = rgba[..., :3].astype(np.float32) * np.exp(rng.normal(0, 0.12, 3)) + rng.normal(0, 10)
    if rng.uniform() < 0.5:
        color *= _light(rng, image.shape[:2])
    if rng.uniform() < 0.3:
        grain = cv2.GaussianBlur(rng.normal(0, 1, image.shape[:2]).astype(np.float32), (0, 0), rng.uniform(0.5, 3))
        color += (grain / (grain.std() + 1e-6) * rng.uniform(2, 14))[..., None]
    behind = image.astype(np.float32)
    if rng.uniform() < 0.4:
        shift = np.float32([[1, 0, rng.normal(0, 6)], [0, 1, rng.uniform(0, 10)]])
        shadow = cv2.GaussianBlur(cv2.warpAffine(cover, shift, image.shape[1::-1]), (0, 0), rng.uniform(2, 10))
        behind = behind * (1 - rng.uniform(0.2, 0.6) * shadow[..., None])
    return np.clip(behind + cover * (color - behind), 0, 255).astype(np.uint8)


def _light(rng: Rng, shape: tuple[int, int]) -> np.ndarray:
    """(H, W, 1) linear light gradient around 1."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.45)
    ys, xs = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    ramp = np.cos(angle) * (xs / shape[1] - 0.5) + np.sin(angle) * (ys / shape[0] - 0.5)
    return (1 + strength * 1.4 * ramp)[..., None]
