"""Prints of banners: text, photographs, patterns, logos and borders in several layouts.

The content varies strongly on purpose. A click on a letter or on a photograph is ambiguous for a promptable model:
it may refer to the letter, the photograph or the whole banner (Kim et al., section 5.3).
"""

from __future__ import annotations

import colorsys
import itertools

import cv2
import numpy as np

from samtailor.data.synth import textures
from samtailor.data.synth.prints import Box, Print, ink, logo, photo, text
from samtailor.data.synth.textures import RGB, apart, near

Rng = np.random.Generator

_ASIDE = 0.95  # probability that a suitable layout leaves more than half of the banner empty
_STANDS_OUT = 95.0  # RGB distance between the rim of a banner and its background


def art(rng: Rng, height: int, width: int, behind: RGB) -> Print:
    """A random flat banner.

    Args:
        rng: random generator.
        height, width: in pixels, at least 8.
        behind: main color of the background, from which the rim of the banner must differ.
    """
    ground = _ground_color(rng, behind)
    sheet = Print.on(_ground(rng, ground, height, width))
    names, odds = zip(*_LAYOUTS.items(), strict=True)
    layout = names[rng.choice(len(names), p=odds)]
    margin = max(int(min(height, width) * rng.uniform(0.03, 0.1)), 1)
    box = (margin, margin, width - margin, height - margin)
    if layout in _MAY_STAND_ASIDE and rng.uniform() < _ASIDE:
        box = _aside(rng, box)
    layout(rng, sheet, box, ground)
    _border(rng, sheet.image, ground, behind)
    sheet.cover = _cut(rng, height, width)
    return sheet


def _ground_color(rng: Rng, behind: RGB) -> RGB:
    """A mostly saturated or white color that differs from the background."""
    best, gap = (255.0, 255.0, 255.0), -1.0
    for _ in range(8):
        kind = rng.uniform()
        saturation, value = (rng.uniform(0.55, 1), rng.uniform(0.45, 1)) if kind < 0.6 else (rng.uniform(0, 0.12), 0.95)
        if kind > 0.85:
            saturation, value = rng.uniform(0, 0.6), rng.uniform(0.05, 0.3)
        candidate = textures.rgb(255 * c for c in colorsys.hsv_to_rgb(rng.uniform(), saturation, value))
        far = float(np.linalg.norm(np.subtract(candidate, behind)))
        if far > _STANDS_OUT:
            return candidate
        if far > gap:
            best, gap = candidate, far
    return best


def _ground(rng: Rng, base: RGB, height: int, width: int) -> np.ndarray:
    kind = rng.choice(["flat", "gradient", "waves", "dots", "stripes", "blocks"], p=[0.45, 0.2, 0.07, 0.08, 0.08, 0.12])
    if kind == "blocks":
        image = np.empty((height, width, 3), np.uint8)
        image[:] = base
        slant = np.array([[rng.uniform(0.2, 0.8), 0], [1, 0], [1, 1], [rng.uniform(0.2, 0.8), 1]]) * (width, height)
        cv2.fillPoly(image, [slant.astype(np.int32)], apart(rng, [base], 70), cv2.LINE_AA)
        return image
    second = near(rng, base, 45) if kind != "gradient" else apart(rng, [base], 60)
    period = min(height, width) * rng.uniform(0.06, 0.3)
    surface = textures.Material(str(kind), base, second, float(rng.uniform(0.3, 1)), period, rng.uniform(0, np.pi))
    return surface.fill(rng, height, width)


def _headline(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """One to four lines of text, one of them larger."""
    text(rng, sheet, box, ink(rng, ground))


def _half(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """A photograph on one side, text on the other."""
    first, second = _share(box, rng.uniform(0.3, 0.62))
    if rng.uniform() < 0.5:
        first, second = second, first
    photo(rng, sheet, first)
    text(rng, sheet, second, ink(rng, ground))


def _poster(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """A photograph over most of the banner, with a strip of text."""
    height, width = sheet.image.shape[:2]
    full = (0, 0, width, height) if rng.uniform() < 0.5 else box
    photo(rng, sheet, full)
    x0, y0, x1, y1 = full
    strip = int((y1 - y0) * rng.uniform(0.2, 0.4))
    top = y0 if rng.uniform() < 0.4 else y1 - strip
    if rng.uniform() < 0.7:
        sheet.image[top : top + strip, x0:x1] = ground
        band = sheet.mark("strip", (x0, top, x1, top + strip))
        inner = _inner((x0, top, x1, top + strip), 0.1)
        text(rng, sheet, inner, ink(rng, ground), lines=int(rng.integers(1, 3)), within=band)
    else:
        text(rng, sheet, _inner((x0, top, x1, top + strip), 0.1), (250, 250, 245), lines=1)


def _tiles(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """Two to six photographs in rows and columns under a headline."""
    head, body = _cut_off(box, rng.uniform(0.2, 0.4)) if rng.uniform() < 0.75 else (None, box)
    if head is not None:
        text(rng, sheet, _inner(head, 0.08), ink(rng, ground), lines=1)
    x0, y0, x1, y1 = body
    wide = (x1 - x0) / max(y1 - y0, 1)
    columns, rows = (int(rng.integers(2, 5)), 1) if wide > 1.5 else (1 + int(wide > 0.6), int(rng.integers(2, 4)))
    for row in range(rows):
        for column in range(columns):
            tile = (
                x0 + (x1 - x0) * column // columns,
                y0 + (y1 - y0) * row // rows,
                x0 + (x1 - x0) * (column + 1) // columns,
                y0 + (y1 - y0) * (row + 1) // rows,
            )
            photo(rng, sheet, _inner(tile, 0.06))


def _emblem(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """A logo beside or above text."""
    first, second = _share(box, rng.uniform(0.3, 0.5))
    logo(rng, sheet, first, ground)
    text(rng, sheet, second, ink(rng, ground))


def _bands(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """Two or three bands of color, each with its own text."""
    height, width = sheet.image.shape[:2]
    count = int(rng.integers(2, 4))
    edges = (
        np.linspace(0, height, count + 1).astype(int)
        + np.r_[0, rng.integers(-height // 12, height // 12 + 1, count - 1), 0]
    )
    for i, (top, bottom) in enumerate(itertools.pairwise(edges)):
        color = ground if i == 0 else apart(rng, [ground], 80)
        part = 0
        if i:
            sheet.image[top:bottom] = color
            part = sheet.mark("band", (0, int(top), width, int(bottom)))
        band = _inner((box[0], int(top), box[2], int(bottom)), 0.12)
        if rng.uniform() < 0.75:
            lines = 1 if count > 2 else int(rng.integers(1, 3))
            text(rng, sheet, band, ink(rng, color), lines=lines, within=part)
        else:
            photo(rng, sheet, band)


def _aside(rng: Rng, box: Box) -> Box:
    """The smaller part of a box that is divided along its longer side; any of the four sides."""
    share = rng.uniform(0.3, 0.45)
    return _share(box, share)[0] if rng.uniform() < 0.5 else _share(box, 1 - share)[1]


_LAYOUTS = {_headline: 0.24, _half: 0.24, _poster: 0.15, _tiles: 0.12, _emblem: 0.15, _bands: 0.10}
_MAY_STAND_ASIDE = (_headline, _half, _tiles, _emblem)


def _border(rng: Rng, image: np.ndarray, ground: RGB, behind: RGB) -> None:
    """Sometimes a frame, and always if the rim would be hard to distinguish from the background."""
    height, width = image.shape[:2]
    short = min(height, width)
    rim = max(int(short * 0.03), 1)
    edge = np.concatenate(
        [
            image[:rim].reshape(-1, 3),
            image[-rim:].reshape(-1, 3),
            image[:, :rim].reshape(-1, 3),
            image[:, -rim:].reshape(-1, 3),
        ]
    )
    lost = float(np.linalg.norm(edge.mean(0) - np.asarray(behind))) < 0.7 * _STANDS_OUT
    if lost or rng.uniform() < 0.3:
        thick = max(int(short * rng.uniform(0.025, 0.07)), 2 if lost else 1)
        color = apart(rng, [behind, ground] if lost else [ground], 110)
        cv2.rectangle(image, (0, 0), (width - 1, height - 1), color, 2 * thick)
    if rng.uniform() < 0.5:
        inset, radius = max(int(short * 0.04), 2), max(int(short * 0.018), 1)
        for x in (inset, width - 1 - inset):
            for y in (inset, height - 1 - inset):
                cv2.circle(image, (x, y), radius, (60, 60, 62), -1, cv2.LINE_AA)


def _cut(rng: Rng, height: int, width: int) -> np.ndarray:
    """Opacity, uint8 (height, width): a rectangle; some tall banners end in a point, a swallowtail or an arc."""
    alpha = np.full((height, width), 255, np.uint8)
    if height < 1.6 * width or rng.uniform() > 0.35:
        return alpha
    drop = int(width * rng.uniform(0.25, 0.5))
    low, kind = height - drop, rng.choice(["point", "swallowtail", "arc"])
    alpha[low:] = 0
    if kind == "arc":
        cv2.ellipse(alpha, (width // 2, low), (width // 2, drop - 1), 0, 0, 180, 255, -1)
    elif kind == "point":
        cv2.fillPoly(alpha, [np.array([[0, low], [width, low], [width // 2, height - 1]])], 255)
    else:
        tail = np.array([[0, low - 1], [width, low - 1], [width, height], [width // 2, low + drop // 4], [0, height]])
        cv2.fillPoly(alpha, [tail], 255)
    return alpha


def _share(box: Box, share: float) -> tuple[Box, Box]:
    """Two parts of a box along its longer side."""
    x0, y0, x1, y1 = box
    gap = max(min(x1 - x0, y1 - y0) // 16, 1)
    if x1 - x0 >= y1 - y0:
        x = int(x0 + share * (x1 - x0))
        return (x0, y0, x, y1), (x + gap, y0, x1, y1)
    y = int(y0 + share * (y1 - y0))
    return (x0, y0, x1, y), (x0, y + gap, x1, y1)


def _cut_off(box: Box, share: float) -> tuple[Box, Box]:
    """The upper `share` of a box, and the rest."""
    x0, y0, x1, y1 = box
    y = int(y0 + share * (y1 - y0))
    return (x0, y0, x1, y), (x0, y, x1, y1)


def _inner(box: Box, share: float) -> Box:
    x0, y0, x1, y1 = box
    margin = int(share * min(x1 - x0, y1 - y0))
    return x0 + margin, y0 + margin, x1 - margin, y1 - margin


__all__ = ["Print", "art"]
