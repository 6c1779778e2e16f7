"""Images of outdoor banners and their masks, determined by a seed (Kim et al., section 5.3).

Banners are printed, placed in a street by a random affine and perspective map, partly occluded and photographed.
`banner_scene(7)` is reproducible on one machine. Another build of OpenCV, Pillow or matplotlib (its fonts) may change
single pixels.
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
"""Default (height, width) of a banner image, in pixels."""

_SMALLEST_SIDE = 64
_KEEP = 0.6  # smallest visible share of a banner
_CARRIED = 0.95  # probability of a carrier (van, hoarding, front); none in backgrounds of the user


def banner_scene(
    seed: int,
    size: tuple[int, int] = SIZE,
    *,
    banners: Sequence[Path] = (),
    backgrounds: Sequence[Path] = (),
) -> Scene:
    """The banner image of a seed.

    Args:
        seed: random seed, at least 0.
        size: (height, width) in pixels, each at least 64.
        banners: image files of banners (transparency is respected); empty for generated banners.
        backgrounds: image files of backgrounds; empty for generated backgrounds.

    Returns:
        image, uint8 RGB (height, width, 3); masks of the visible parts of one to three banners, bool (height, width);
        all labels "banner"; all parents -1.

    Raises:
        InputError: a negative seed, or a size that is too small.
        DataError: an image file cannot be read.
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
    """Paint a banner image with its id maps (height, width). Prints are parts of their banner.

    Returns:
        the canvas, and the ids of the banners. Other objects occlude or hold banners. The background has no ids.
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
        raise InputError(f"seed must be at least 0, got {seed}.")
    if len(size) != 2 or min(size) < _SMALLEST_SIDE:
        raise InputError(f"size must be (height, width) of at least {_SMALLEST_SIDE} pixels each, got {tuple(size)}.")
    return int(size[0]), int(size[1])


def _hang_all(rng: Rng, canvas: Canvas, place: Backdrop, banners: Sequence[Path], carried: float) -> dict[int, int]:
    """Hang one to three banners, some on carriers; returns the visible pixels of each by id.

    All carriers and fixings are painted first, so that they do not hide another banner.
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
    """Paint the carrier or the fixings of a banner; returns the id of the carrier."""
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
        raise ValueError("The banner is outside the image.")
    visible, box = flattened
    if place.wall or rng.uniform() < 0.3:
        attach.shadow(rng, canvas.image, visible.cover, box)
    return attach.hang(canvas, visible, box), int((visible.cover > 127).sum())


def _aspect(rng: Rng) -> float:
    """Random width divided by height: long, nearly square or tall."""
    low, high = ((2.2, 5.5), (0.9, 2.2), (0.3, 0.75))[rng.choice(3, p=[0.45, 0.33, 0.22])]
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _behind(image: np.ndarray, corners: np.ndarray) -> tuple[float, float, float]:
    """Mean color of the image just outside the banner."""
    height, width = image.shape[:2]
    points = corners + 0.12 * (corners - corners.mean(0))
    steps = np.linspace(0, 1, 24, endpoint=False)[:, None, None]
    rim = (points * (1 - steps) + np.roll(points, -1, 0) * steps).reshape(-1, 2).astype(int)
    rim = np.clip(rim, 0, (width - 1, height - 1))
    r, g, b = image[rim[:, 1], rim[:, 0]].mean(0)
    return float(r), float(g), float(b)


def _scaled(own: np.ndarray, rows: int, columns: int) -> Print:
    """A banner of the user, RGBA, without parts."""
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
    """Noise of standard deviation ``amplitude``; from this generator, so that global state does not change."""
    first, second = (np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape) for _ in range(2))
    summed = cv2.addWeighted(first, amplitude / 104, second, amplitude / 104, -255 * amplitude / 104, dtype=cv2.CV_16S)
    return cv2.add(image, summed, dtype=cv2.CV_8U)


__all__ = ["SIZE", "banner_scene", "paint"]
