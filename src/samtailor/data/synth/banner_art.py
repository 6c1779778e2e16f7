"""What is printed on a banner: text, photographs, patterns, logos and borders in several layouts.

The content varies strongly on purpose. A click on a letter or on a photograph is ambiguous for a promptable model:
it may mean the letter, the photograph or the whole banner (Kim et al., section 5.3).
"""

from __future__ import annotations

import colorsys
import itertools
from dataclasses import dataclass, field

import cv2
import numpy as np

from samtailor.data.synth import lettering, shapes, textures, things
from samtailor.data.synth.backgrounds import background
from samtailor.data.synth.canvas import Canvas, blend
from samtailor.data.synth.textures import RGB, apart, near

Rng = np.random.Generator
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in px of the banner

_INK = 130.0  # RGB distance at which writing reads well on its ground
_STANDS_OUT = 95.0  # RGB distance between a banner's rim and what hangs behind it


@dataclass
class Print:
    """A flat banner.

    image: ``(height, width, 3)`` uint8 RGB. parts: ``(height, width)`` uint8, which line of text, photograph, logo or
    band a pixel belongs to; 0 is none, and id i is called ``names[i - 1]``. cover: ``(height, width)`` uint8 opacity.
    """

    image: np.ndarray
    parts: np.ndarray
    cover: np.ndarray
    names: list[str] = field(default_factory=list)

    @classmethod
    def on(cls, ground: np.ndarray) -> Print:
        """Nothing but ``ground`` ``(height, width, 3)``."""
        return cls(ground, np.zeros(ground.shape[:2], np.uint8), np.full(ground.shape[:2], 255, np.uint8))

    def mark(self, name: str, box: Box, inside: np.ndarray | None = None) -> None:
        """Make a part of the pixels of ``box``, of those where ``inside`` ``(h, w)`` is true if it is given."""
        x0, y0, x1, y1 = box
        if len(self.names) < 60:
            self.names.append(name)
            self.parts[y0:y1, x0:x1][... if inside is None else inside] = len(self.names)


def art(rng: Rng, height: int, width: int, behind: RGB) -> Print:
    """A flat banner.

    Args:
        rng: source of every choice.
        height: px, at least 8.
        width: px, at least 8.
        behind: main colour of what the banner will hang in front of; its rim keeps away from it.
    """
    ground = _ground_colour(rng, behind)
    sheet = Print.on(_ground(rng, ground, height, width))
    names, odds = zip(*_LAYOUTS.items(), strict=True)
    layout = names[rng.choice(len(names), p=odds)]
    margin = max(int(min(height, width) * rng.uniform(0.03, 0.1)), 1)
    layout(rng, sheet, (margin, margin, width - margin, height - margin), ground)
    _border(rng, sheet.image, ground, behind)
    sheet.cover = _cut(rng, height, width)
    return sheet


def _ground_colour(rng: Rng, behind: RGB) -> RGB:
    """Mostly strong or white, as printers and their customers like it, and away from what is behind."""
    best, gap = (255.0, 255.0, 255.0), -1.0
    for _ in range(8):
        kind = rng.uniform()
        saturation, value = (rng.uniform(0.55, 1), rng.uniform(0.45, 1)) if kind < 0.6 else (rng.uniform(0, 0.12), 0.95)
        if kind > 0.85:
            saturation, value = rng.uniform(0, 0.6), rng.uniform(0.05, 0.3)
        candidate = tuple(255 * c for c in colorsys.hsv_to_rgb(rng.uniform(), saturation, value))
        far = float(np.linalg.norm(np.subtract(candidate, behind)))
        if far > _STANDS_OUT:
            return candidate
        if far > gap:
            best, gap = candidate, far
    return best


def _ground(rng: Rng, base: RGB, height: int, width: int) -> np.ndarray:
    kind = rng.choice(["flat", "gradient", "waves", "dots", "stripes", "blocks"], p=[0.45, 0.2, 0.07, 0.08, 0.08, 0.12])
    if kind == "blocks":
        picture = np.empty((height, width, 3), np.uint8)
        picture[:] = base
        slant = np.array([[rng.uniform(0.2, 0.8), 0], [1, 0], [1, 1], [rng.uniform(0.2, 0.8), 1]]) * (width, height)
        cv2.fillPoly(picture, [slant.astype(np.int32)], apart(rng, [base], 70), cv2.LINE_AA)
        return picture
    second = near(rng, base, 45) if kind != "gradient" else apart(rng, [base], 60)
    period = min(height, width) * rng.uniform(0.06, 0.3)
    surface = textures.Material(str(kind), base, second, float(rng.uniform(0.3, 1)), period, rng.uniform(0, np.pi))
    return surface.fill(rng, height, width)


def _headline(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """One to four lines of text, one of them larger."""
    _text(rng, sheet, box, _ink(rng, ground))


def _half(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """A photograph on one side, text on the other."""
    first, second = _share(box, rng.uniform(0.3, 0.62))
    if rng.uniform() < 0.5:
        first, second = second, first
    _photo(rng, sheet, first)
    _text(rng, sheet, second, _ink(rng, ground))


def _poster(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """A photograph over nearly all of it, with a strip of text across."""
    height, width = sheet.image.shape[:2]
    full = (0, 0, width, height) if rng.uniform() < 0.5 else box
    _photo(rng, sheet, full)
    x0, y0, x1, y1 = full
    strip = int((y1 - y0) * rng.uniform(0.2, 0.4))
    top = y0 if rng.uniform() < 0.4 else y1 - strip
    if rng.uniform() < 0.7:
        sheet.image[top : top + strip, x0:x1] = ground
        sheet.mark("strip", (x0, top, x1, top + strip))
        _text(rng, sheet, _inner((x0, top, x1, top + strip), 0.1), _ink(rng, ground), lines=int(rng.integers(1, 3)))
    else:
        _text(rng, sheet, _inner((x0, top, x1, top + strip), 0.1), (250, 250, 245), lines=1)


def _tiles(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """Two to six photographs in rows and columns under a headline."""
    head, body = _cut_off(box, rng.uniform(0.2, 0.4)) if rng.uniform() < 0.75 else (None, box)
    if head is not None:
        _text(rng, sheet, _inner(head, 0.08), _ink(rng, ground), lines=1)
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
            _photo(rng, sheet, _inner(tile, 0.06))


def _emblem(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """A logo beside or above text."""
    first, second = _share(box, rng.uniform(0.3, 0.5))
    _logo(rng, sheet, first, ground)
    _text(rng, sheet, second, _ink(rng, ground))


def _bands(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """Two or three bands of colour, each with a line of its own."""
    height, width = sheet.image.shape[:2]
    count = int(rng.integers(2, 4))
    edges = (
        np.linspace(0, height, count + 1).astype(int)
        + np.r_[0, rng.integers(-height // 12, height // 12 + 1, count - 1), 0]
    )
    for i, (top, bottom) in enumerate(itertools.pairwise(edges)):
        colour = ground if i == 0 else apart(rng, [ground], 80)
        if i:
            sheet.image[top:bottom] = colour
            sheet.mark("band", (0, int(top), width, int(bottom)))
        band = _inner((box[0], int(top), box[2], int(bottom)), 0.12)
        if rng.uniform() < 0.75:
            _text(rng, sheet, band, _ink(rng, colour), lines=1 if count > 2 else int(rng.integers(1, 3)))
        else:
            _photo(rng, sheet, band)


_LAYOUTS = {_headline: 0.24, _half: 0.24, _poster: 0.15, _tiles: 0.12, _emblem: 0.15, _bands: 0.10}


def _text(rng: Rng, sheet: Print, box: Box, ink: RGB, lines: int | None = None) -> None:
    """Fill the box with centred or left-set lines of text, the first or second one the largest."""
    x0, y0, x1, y1 = box
    if x1 - x0 < 4 or y1 - y0 < 4:
        return
    wide = (x1 - x0) / (y1 - y0)
    lines = lines or int(rng.integers(1, 3 if wide > 4 else 6 if wide < 0.8 else 5))
    weights = rng.uniform(0.5, 1, lines)
    weights[int(rng.integers(0, min(lines, 2)))] = rng.uniform(1.3, 2.6)
    edges = y0 + np.r_[0, np.cumsum(weights / weights.sum())] * (y1 - y0)
    typeface, left = lettering.face(rng), rng.uniform() < 0.3
    for top, bottom in itertools.pairwise(edges):
        tall = (bottom - top) * 0.78
        count = int(np.clip(round((x1 - x0) / max(tall, 1) / rng.uniform(2.2, 5)), 1, 5))
        cover = lettering.fit(lettering.line(lettering.words(rng, count, typeface), typeface), x1 - x0, tall)
        rows, columns = cover.shape
        x = x0 if left else int(x0 + (x1 - x0 - columns) / 2)
        y = int(top + (bottom - top - rows) / 2)
        _ink_on(sheet.image[y : y + rows, x : x + columns], ink, cover)
        sheet.mark("text", (x, y, x + columns, y + rows))


def _logo(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """A badge: an outline, a smaller one on it, at times with a letter or two."""
    x0, y0, x1, y1 = box
    centre, reach = ((x0 + x1) / 2, (y0 + y1) / 2), 0.48 * min(x1 - x0, y1 - y0)
    colour = _ink(rng, ground)
    outlines = [(things.silhouette(rng), 1.0, colour), (things.silhouette(rng), 0.62, apart(rng, [colour], _INK))]
    for outline, size, fill in outlines:
        outline = outline / max(float(np.abs(outline).max()), 1e-3)
        points = shapes.place(outline, centre=centre, scale=(reach * size, reach * size), angle=rng.normal(0, 0.3))
        corners = [np.round(points * 16).astype(np.int32)]
        cv2.fillPoly(sheet.image, corners, fill, cv2.LINE_AA, 4)
        if size == 1.0:
            whole = np.zeros_like(sheet.parts)
            cv2.fillPoly(whole, corners, 1, shift=4)
            sheet.mark("logo", (0, 0, whole.shape[1], whole.shape[0]), whole > 0)
    if rng.uniform() < 0.5:
        inner = (int(centre[0] - reach * 0.35), int(centre[1] - reach * 0.35))
        _text(rng, sheet, (*inner, int(centre[0] + reach * 0.35), int(centre[1] + reach * 0.35)), colour, lines=1)


def _photo(rng: Rng, sheet: Print, box: Box) -> None:
    """A photograph-like panel: a small scene of its own."""
    x0, y0, x1, y1 = box
    if x1 - x0 < 4 or y1 - y0 < 4:
        return
    side = 112
    scene, colours = background(rng, side)
    canvas, catalogue = Canvas.on(scene), things.catalogue()
    wide = (x1 - x0) / (y1 - y0)
    names = ["face", "person", "car", "bottle", "animal", "plant", "vessel", "house", "shape", "box"]
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        layers = catalogue[str(rng.choice(names))][1](rng, apart(rng, colours))
        reach = side * rng.uniform(0.2, 0.42)
        # the panel squeezes the square scene into its own aspect; the things are drawn so that they come out right
        scale = (reach / max(wide, 1) ** 0.7, reach * min(wide, 1) ** 0.7)
        canvas.add(rng, "thing", layers, centre=tuple(rng.uniform(0.25, 0.75, 2) * side), scale=scale)
    panel = cv2.resize(canvas.image, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    if rng.uniform() < 0.75:
        sheet.image[y0:y1, x0:x1] = panel
        sheet.mark("photograph", box)
        return
    cover = np.zeros(panel.shape[:2], np.uint8)
    centre, axes = ((x1 - x0) // 2, (y1 - y0) // 2), (max((x1 - x0) // 2 - 1, 1), max((y1 - y0) // 2 - 1, 1))
    cv2.ellipse(cover, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    blend(sheet.image[y0:y1, x0:x1], panel, cover)
    sheet.mark("photograph", box, cover > 127)


def _border(rng: Rng, picture: np.ndarray, ground: RGB, behind: RGB) -> None:
    """A frame by taste, and always where the rim would be lost against what is behind."""
    height, width = picture.shape[:2]
    short = min(height, width)
    rim = max(int(short * 0.03), 1)
    edge = np.concatenate(
        [
            picture[:rim].reshape(-1, 3),
            picture[-rim:].reshape(-1, 3),
            picture[:, :rim].reshape(-1, 3),
            picture[:, -rim:].reshape(-1, 3),
        ]
    )
    lost = float(np.linalg.norm(edge.mean(0) - np.asarray(behind))) < 0.7 * _STANDS_OUT
    if lost or rng.uniform() < 0.3:
        thick = max(int(short * rng.uniform(0.025, 0.07)), 2 if lost else 1)
        colour = apart(rng, [behind, ground] if lost else [ground], 110)
        cv2.rectangle(picture, (0, 0), (width - 1, height - 1), colour, 2 * thick)
    if rng.uniform() < 0.5:
        inset, radius = max(int(short * 0.04), 2), max(int(short * 0.018), 1)
        for x in (inset, width - 1 - inset):
            for y in (inset, height - 1 - inset):
                cv2.circle(picture, (x, y), radius, (60, 60, 62), -1, cv2.LINE_AA)


def _cut(rng: Rng, height: int, width: int) -> np.ndarray:
    """Alpha ``(height, width)`` uint8: a rectangle; some tall banners end in a point, a swallowtail or an arc."""
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


def _ink(rng: Rng, ground: RGB) -> RGB:
    if rng.uniform() < 0.45:
        return (248.0, 246.0, 240.0) if sum(ground) < 380 else (25.0, 25.0, 30.0)
    return apart(rng, [ground], _INK)


def _ink_on(below: np.ndarray, ink: RGB, cover: np.ndarray) -> None:
    above = np.empty_like(below)
    above[:] = ink
    blend(below, above, cover[: below.shape[0], : below.shape[1]])


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
    """The upper ``share`` of a box, and the rest."""
    x0, y0, x1, y1 = box
    y = int(y0 + share * (y1 - y0))
    return (x0, y0, x1, y), (x0, y, x1, y1)


def _inner(box: Box, share: float) -> Box:
    x0, y0, x1, y1 = box
    margin = int(share * min(x1 - x0, y1 - y0))
    return x0 + margin, y0 + margin, x1 - margin, y1 - margin


__all__ = ["art"]
