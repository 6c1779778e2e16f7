"""Hang a flat banner in an image: position, perspective, sag, folds, shadow, ropes and poles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from samtailor.data.synth import shapes
from samtailor.data.synth.banner_art import Print
from samtailor.data.synth.canvas import Canvas, Layer, blend
from samtailor.data.synth.street import Backdrop
from samtailor.data.synth.textures import RGB, Material, near

Rng = np.random.Generator
Point = Sequence[float] | np.ndarray
"""x, y."""

_APART = 0.03  # smallest gap between two banners, relative to the shorter side of the image


@dataclass(frozen=True)
class Spot:
    """Position and folds of a banner.

    Args:
        corners: float (4, 2), pixels of the image (pixel i spans i to i + 1), clockwise from the top left.
        sag: how far the middle hangs below the ends, relative to the height of the print.
        waves: number of folds across.
        depth: amplitude of the folds, relative to the shorter side of the print.
        phase: phase of the folds, in radians.
    """

    corners: np.ndarray
    sag: float
    waves: float
    depth: float
    phase: float

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels of the print, such that warping neither blurs nor aliases it."""
        sides = np.linalg.norm(np.roll(self.corners, -1, 0) - self.corners, axis=1)
        return max(int(max(sides[1], sides[3])), 8), max(int(max(sides[0], sides[2])), 8)


def spot(rng: Rng, place: Backdrop, *, aspect: float, area: float, taken: list[np.ndarray], kind: str) -> Spot | None:
    """Choose a free position.

    Args:
        rng: random generator.
        place: the background.
        aspect: width of the print divided by its height.
        area: intended area of the print in the image, in pixels.
        taken: corners of the existing banners.
        kind: "taut" (a board, hardly any folds) or "loose".

    Returns:
        the position, or None after 12 failed attempts.
    """
    height, width = place.image.shape[:2]
    for attempt in range(12):
        shrink = 0.94**attempt
        wide, tall = np.sqrt(area * aspect) * shrink, np.sqrt(area / aspect) * shrink
        shape = _corners(rng, min(wide, 0.95 * width), min(tall, 0.9 * height))
        reach = np.abs(shape).max(0)
        spare = np.maximum(np.array([width, height]) / 2 - reach * rng.uniform(0.8, 1.0), 0)
        low = min(spare[1], max(place.ground + 0.25 * (height - place.ground) - reach[1] - height / 2, -spare[1]))
        center = (rng.uniform(-spare[0], spare[0]), rng.uniform(-spare[1], low))
        corners = shape + center + (width / 2, height / 2)
        if all(_clear(corners, other, _APART * min(height, width)) for other in taken):
            loose = kind == "loose"
            sag = abs(rng.normal(0, 0.06)) if loose and aspect > 1.3 else 0.0
            depth = abs(rng.normal(0, 0.022)) if loose else 0.003
            return Spot(corners, min(sag, 0.16), rng.uniform(0.6, 3.5), min(depth, 0.05), rng.uniform(0, 6.3))
    return None


def flatten(
    rng: Rng, where: Spot, print_: Print, size: tuple[int, int]
) -> tuple[Print, tuple[int, int, int, int]] | None:
    """Warp a print into the image.

    Args:
        rng: random generator, for creases and light.
        where: position of the banner.
        print_: the flat print.
        size: (height, width) of the image.

    Returns:
        the warped print and its box x0, y0, x1, y1; None if it is outside the image.
    """
    rows, columns = print_.parts.shape
    droop = (where.sag + where.depth) * np.linalg.norm(where.corners[3] - where.corners[0]) + 2
    x0, y0 = np.maximum(np.floor(where.corners.min(0) - droop), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(where.corners.max(0) + droop), size[::-1]).astype(int)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    flat = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32) - 0.5
    back = cv2.getPerspectiveTransform((where.corners - (x0, y0)).astype(np.float32), flat)
    y, x = np.mgrid[: y1 - y0, : x1 - x0].astype(np.float32) + np.float32(0.5)
    depth = (back[2, 0] * x + back[2, 1] * y + back[2, 2]).astype(np.float32)
    u = ((back[0, 0] * x + back[0, 1] * y + back[0, 2]) / depth).astype(np.float32)
    v = ((back[1, 0] * x + back[1, 1] * y + back[1, 2]) / depth).astype(np.float32)
    across, down = u / columns, np.clip(v / rows, 0, 1)
    turn = np.float32(2 * np.pi * where.waves) * across + np.float32(where.phase) + np.float32(0.6) * down
    v -= np.float32(where.sag * rows * 4) * across * (1 - across)
    v += np.float32(where.depth * min(rows, columns)) * np.sin(turn) * (0.35 + 0.65 * down)
    colors = cv2.remap(np.ascontiguousarray(print_.image), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.remap(np.ascontiguousarray(print_.cover), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    parts = cv2.remap(print_.parts, u, v, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    light = 1 + np.float32(min(where.depth * 9, 0.28)) * np.cos(turn)
    light *= np.float32(rng.uniform(0.86, 1.06)) - np.float32(rng.uniform(0, 0.14)) * down
    if where.depth > 0.004 and rng.uniform() < 0.4:
        light += _creases(rng, across)
    colors = np.clip(colors * light[..., None], 0, 255).astype(np.uint8)
    return Print(colors, parts, cover, print_.names, print_.nested), (int(x0), int(y0), int(x1), int(y1))


def shadow(rng: Rng, image: np.ndarray, cover: np.ndarray, box: tuple[int, int, int, int]) -> None:
    """Darken the background of a banner slightly beside and below it; changes `image`."""
    x0, y0, x1, y1 = box
    reach = max(int(0.02 * image.shape[0]), 2)
    dx, dy = int(rng.integers(-reach, reach + 1)), int(rng.integers(1, reach + 1))
    pad = 2 * reach
    soft = cv2.copyMakeBorder(cover, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
    soft = cv2.GaussianBlur(soft, (0, 0), reach * rng.uniform(0.25, 0.6))
    left, top = x0 - pad + dx, y0 - pad + dy
    a, b = max(left, 0), max(top, 0)
    part = image[b : max(y1 + pad + dy, 0), a : max(x1 + pad + dx, 0)]
    weight = soft[b - top : b - top + part.shape[0], a - left : a - left + part.shape[1]]
    keep = 1 - weight.astype(np.float32) * np.float32(rng.uniform(0.3, 0.6) / 255)
    part[:] = (part * keep[..., None]).astype(np.uint8)


def fixings(rng: Rng, canvas: Canvas, where: Spot, place: Backdrop) -> None:
    """Paint the fixings of a banner: ropes to the wall, poles at its sides, or a rod above. Call before `hang`."""
    height, _width = place.image.shape[:2]
    top_left, top_right, bottom_right, bottom_left = where.corners
    thick = max(height / 480 * rng.uniform(1.2, 2.6), 1.0)
    kind = (
        rng.choice(["ropes", "rod", "none"], p=[0.6, 0.2, 0.2])
        if place.wall
        else rng.choice(["poles", "ropes"], p=[0.75, 0.25])
    )
    if kind == "ropes":
        middle, reach = where.corners.mean(0), height * rng.uniform(0.04, 0.2)
        tall = where.size[0] > 1.5 * where.size[1]  # tall banners may end in a point, without lower corners
        for corner in where.corners[: 2 if tall else 4]:
            away = (corner - middle) / max(float(np.linalg.norm(corner - middle)), 1e-3)
            end = corner + (away + rng.normal(0, 0.25, 2)) * reach
            _bar(rng, canvas, corner, end, thick, (70, 65, 58))
    elif kind == "rod":
        along = (top_right - top_left) * 0.05
        _bar(rng, canvas, top_left - along, top_right + along, 3 * thick, (90, 88, 86))
    elif kind == "poles":
        foot, tone = place.ground + 0.3 * (height - place.ground), near(rng, (120, 112, 105), 35)
        for upper, lower in ((top_left, bottom_left), (top_right, bottom_right)):
            lean = rng.normal(0, 0.01) * height
            base = (lower[0] + lean, max(foot, lower[1] + 0.03 * height))
            _bar(rng, canvas, upper - (0, 0.03 * height), base, thick * 3, tone)


def hang(canvas: Canvas, warped: Print, box: tuple[int, int, int, int]) -> int:
    """Paint the result of `flatten`; returns the id of the banner in `canvas.objects`."""
    x0, y0, x1, y1 = box
    canvas.object_names.append("banner")
    owner, first = len(canvas.object_names), len(canvas.part_names)
    blend(canvas.image[y0:y1, x0:x1], warped.image, warped.cover)
    inside = warped.cover > 127
    canvas.objects[y0:y1, x0:x1][inside] = owner
    canvas.parts[y0:y1, x0:x1][inside] = np.where(warped.parts, warped.parts + first, 0)[inside]
    canvas.part_names += warped.names
    canvas.part_owner += [owner] * len(warped.names)
    canvas.nested |= {first + part: first + whole for part, whole in warped.nested.items()}
    return owner


def _corners(rng: Rng, wide: float, tall: float) -> np.ndarray:
    """Corners (4, 2) about the origin, in pixels: a rectangle after a random affine and a perspective map."""
    flat = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (wide / 2, tall / 2)
    turn = np.radians(np.clip(rng.normal(0, 5 if rng.uniform() < 0.75 else 14), -28, 28))
    lean, squeeze = rng.normal(0, 0.06), rng.uniform(0.8, 1.0)
    affine = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.array(
        [[squeeze, lean], [0, 1]]
    )
    # depth grows linearly across the print: one side, or the top, is farther away
    yaw, pitch = np.clip(rng.normal(0, 0.16), -0.35, 0.35), np.clip(rng.normal(0, 0.08), -0.2, 0.2)
    distance = 1 + yaw * flat[:, :1] / (wide / 2) + pitch * flat[:, 1:] / (tall / 2)
    return (flat / distance) @ affine.T


def _clear(corners: np.ndarray, other: np.ndarray, gap: float) -> bool:
    """Whether the convex hulls of two quadrilaterals are at least about `gap` pixels apart."""
    middle = corners.mean(0)
    away = corners - middle
    grown = middle + away * (1 + gap / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-3))
    shared, _ = cv2.intersectConvexConvex(
        cv2.convexHull(grown.astype(np.float32)), cv2.convexHull(other.astype(np.float32))
    )
    return shared <= 0


def _creases(rng: Rng, across: np.ndarray) -> np.ndarray:
    """Light (h, w) to add along one to three vertical creases from packaging."""
    light = np.zeros_like(across)
    for at in np.linspace(0, 1, int(rng.integers(2, 5)) + 1)[1:-1]:
        near_fold = (across - np.float32(at)) / np.float32(0.012)
        light += np.float32(rng.uniform(0.05, 0.14)) * near_fold * np.exp(-(near_fold**2))
    return light


def _bar(rng: Rng, canvas: Canvas, start: Point, end: Point, thick: float, color: RGB) -> None:
    (x0, y0), (x1, y1) = start, end
    outline = shapes.limb(x0, y0, x1, y1, thick / 2, thick / 2)
    surface = Material("flat", near(rng, color, 12), color, 0.0, 1.0, 0.0)
    canvas.add(rng, "fixing", [Layer([outline], surface)], center=(0, 0), scale=(1, 1))


__all__ = ["Spot", "fixings", "flatten", "hang", "shadow", "spot"]
