"""Images of outdoor banners and their masks, from a seed (Kim et al., section 5.3).

Banners are printed, hung into a street by a random affine and perspective map, partly hidden by what stands in
front, and photographed. `banner_scene(7)` is the same image today and tomorrow on one machine; another build of
OpenCV, Pillow or matplotlib (its fonts) may differ in single pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from samtailor.data.synth import attach, carriers, damage, textures
from samtailor.data.synth.banner_art import Print, art
from samtailor.data.synth.canvas import Canvas
from samtailor.data.synth.occluders import occlude
from samtailor.data.synth.own_images import backdrop, cutout
from samtailor.data.synth.scenes import Scene
from samtailor.data.synth.street import Backdrop, street
from samtailor.errors import InputError

Rng = np.random.Generator

SIZE = (480, 640)
"""Height and width, px, of a banner image when nothing else is said."""

_SMALLEST_SIDE = 64
_KEEP = 0.6  # share of a banner that occluders leave visible at least
_CARRIED = 0.95  # share of the banners that hang on a van, a hoarding, a front; none in backgrounds of a user's own


def banner_scene(
    seed: int,
    size: tuple[int, int] = SIZE,
    *,
    banners: Sequence[Path] = (),
    backgrounds: Sequence[Path] = (),
) -> Scene:
    """The banner image of this seed.

    Args:
        seed: not negative; everything random comes from it.
        size: (height, width) in px, each at least 64.
        banners: image files to print (PNG transparency is respected); empty: printed by the program.
        backgrounds: image files to hang them in; empty: painted by the program.

    Returns:
        image ``(height, width, 3)`` uint8 RGB; one to three masks ``(height, width)`` bool, what is visible of each
        banner; all labels "banner"; all parents -1.

    Raises:
        InputError: a negative seed or a size that is too small.
        DataError: an image file that cannot be read.
    """
    size = _checked(seed, size)
    canvas, hung = paint(np.random.default_rng(seed), size, banners=banners, backgrounds=backgrounds)
    return Scene(canvas.image, [canvas.objects == owner for owner in hung], ["banner"] * len(hung), [-1] * len(hung))


def paint(
    rng: Rng,
    size: tuple[int, int],
    *,
    banners: Sequence[Path] = (),
    backgrounds: Sequence[Path] = (),
) -> tuple[Canvas, list[int]]:
    """Paint a banner image and keep its id maps ``(height, width)``: what is printed on a banner is a part of it.

    Returns:
        the canvas, and the ids of the banners. Other objects are what stands before them or holds them; what belongs
        to the background has no id.
    """
    height, width = size
    place = backdrop(rng, backgrounds, size) if backgrounds else street(rng, size)
    side = max(height, width)
    canvas = Canvas.on(np.zeros((side, side, 3), np.uint8))
    canvas.image[:height, :width] = place.image
    whole = _hang_all(rng, canvas, place, banners, 0.0 if backgrounds else _CARRIED)
    canvas.objects[height:] = canvas.objects[:, width:] = 0
    occlude(rng, canvas, size, whole, _KEEP)
    canvas.image = _photograph(rng, np.ascontiguousarray(canvas.image[:height, :width]))
    canvas.objects, canvas.parts = canvas.objects[:height, :width], canvas.parts[:height, :width]
    return canvas, list(whole)


def _checked(seed: int, size: tuple[int, int]) -> tuple[int, int]:
    if seed < 0:
        raise InputError(f"A seed is an integer from 0 on, got {seed}.")
    if len(size) != 2 or min(size) < _SMALLEST_SIDE:
        raise InputError(f"size is (height, width) in pixels, each at least {_SMALLEST_SIDE}; got {tuple(size)}.")
    return int(size[0]), int(size[1])


def _hang_all(rng: Rng, canvas: Canvas, place: Backdrop, banners: Sequence[Path], carried: float) -> dict[int, int]:
    """Hang one to three banners, a share of them on carriers; returns id -> visible px of each.

    What holds them is painted first, for all: a van of one must not hide another.
    """
    height, width = place.image.shape[:2]
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.27, 0.13]))
    chosen: list[tuple[attach.Spot, np.ndarray | None]] = []
    for _ in range(count):
        own = cutout(rng, banners) if banners else None
        aspect = own.shape[1] / own.shape[0] if own is not None else _aspect(rng)
        area = height * width * float(np.exp(rng.uniform(np.log(0.07), np.log(0.28)))) / count**0.7
        kind = "loose" if rng.uniform() < 0.65 else "taut"
        taken = [where.corners for where, _ in chosen]
        where = attach.spot(rng, place, aspect=aspect, area=area, taken=taken, kind=kind)
        if where is not None:
            chosen.append((where, own))
    holders = [_hold(rng, canvas, place, where, carried) for where, _ in chosen]
    whole: dict[int, int] = {}
    for (where, own), carrier in zip(chosen, holders, strict=True):
        owner, area = _hang(rng, canvas, place, where, own)
        whole[owner] = area
        if carrier is not None:
            canvas.groups[owner] = carrier
    return whole


def _hold(rng: Rng, canvas: Canvas, place: Backdrop, where: attach.Spot, carried: float) -> int | None:
    """Paint what holds a banner; returns its id if it is a carrier."""
    if rng.uniform() < carried:
        return carriers.carry(rng, canvas, where, carriers.pick(rng, place))
    attach.fixings(rng, canvas, where, place)
    return None


def _hang(rng: Rng, canvas: Canvas, place: Backdrop, where: attach.Spot, own: np.ndarray | None) -> tuple[int, int]:
    height, width = place.image.shape[:2]
    rows, columns = where.size
    behind = canvas.image[:height, :width]
    print_ = art(rng, rows, columns, _behind(behind, where.corners)) if own is None else _scaled(own, rows, columns)
    flattened = attach.flatten(rng, where, print_, (height, width))
    if flattened is None:
        raise ValueError("The banner lies outside of the image.")
    visible, box = flattened
    if place.wall or rng.uniform() < 0.3:
        attach.shadow(rng, canvas.image, visible.cover, box)
    return attach.hang(canvas, visible, box), int((visible.cover > 127).sum())


def _aspect(rng: Rng) -> float:
    """Width over height: long, squarish or tall."""
    low, high = ((2.2, 5.5), (0.9, 2.2), (0.3, 0.75))[rng.choice(3, p=[0.45, 0.33, 0.22])]
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _behind(image: np.ndarray, corners: np.ndarray) -> tuple[float, float, float]:
    """Mean color of the image just outside of the banner's edge."""
    height, width = image.shape[:2]
    points = corners + 0.12 * (corners - corners.mean(0))
    steps = np.linspace(0, 1, 24, endpoint=False)[:, None, None]
    rim = (points * (1 - steps) + np.roll(points, -1, 0) * steps).reshape(-1, 2).astype(int)
    rim = np.clip(rim, 0, (width - 1, height - 1))
    r, g, b = image[rim[:, 1], rim[:, 0]].mean(0)
    return float(r), float(g), float(b)


def _scaled(own: np.ndarray, rows: int, columns: int) -> Print:
    """A user's own banner, RGBA; nothing is known of its parts."""
    shrink = rows * columns < own.shape[0] * own.shape[1]
    own = cv2.resize(own, (columns, rows), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    return Print(own[..., :3], np.zeros((rows, columns), np.uint8), own[..., 3])


def _photograph(rng: Rng, image: np.ndarray) -> np.ndarray:
    """Light, blur, grain and compression of a hand-held camera, milder than `damage.damage`."""
    height = image.shape[0]
    if rng.uniform() < 0.6:
        image = _light(rng, image)
    if rng.uniform() < 0.6:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.2)) * max(height / 480, 0.5))
    if rng.uniform() < 0.5:
        image = _grain(rng, image, rng.uniform(1, 6))
    if rng.uniform() < 0.3:
        image = damage.compress(image, int(rng.integers(45, 92)))
    return np.ascontiguousarray(image)


def _light(rng: Rng, image: np.ndarray) -> np.ndarray:
    """Uneven, slightly tinted light: a smooth gain between about 0.65 and 1.25."""
    height, width = image.shape[:2]
    gain = textures.clouds(rng, height, width, height / rng.uniform(0.8, 2.5)) * np.float32(rng.uniform(0, 0.35))
    gain += np.float32(rng.uniform(0.7, 1.0))
    tint = np.clip(rng.normal(1, 0.04, 3), 0.9, 1.1)
    return cv2.multiply(image, cv2.merge([gain * np.float32(share) for share in tint]), dtype=cv2.CV_8U)


def _grain(rng: Rng, image: np.ndarray, amplitude: float) -> np.ndarray:
    """Noise of standard deviation ``amplitude``; from this generator, so that no global state is touched."""
    first, second = (np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape) for _ in range(2))
    summed = cv2.addWeighted(first, amplitude / 104, second, amplitude / 104, -255 * amplitude / 104, dtype=cv2.CV_16S)
    return cv2.add(image, summed, dtype=cv2.CV_8U)


__all__ = ["SIZE", "banner_scene", "paint"]
