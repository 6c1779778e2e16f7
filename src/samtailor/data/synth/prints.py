"""Elements of a print, each marked as a part of the banner: text, logos, photographs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import cv2
import numpy as np

from samtailor.data.synth import lettering, shapes, things
from samtailor.data.synth.backgrounds import background
from samtailor.data.synth.canvas import Canvas, blend
from samtailor.data.synth.textures import RGB, apart

Rng = np.random.Generator
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels of the banner

_MOST = 60  # largest number of parts of a banner
_GAP = 0.2  # relative to the line height; wider gaps separate words
_INK = 130.0  # RGB distance of legible text from its ground


@dataclass
class Print:
    """A flat banner.

    Args:
        image: uint8 RGB (height, width, 3).
        parts: uint8 (height, width), id of the innermost line of text, photograph, logo or band; 0 for none.
        cover: opacity, uint8 (height, width).
        names: names of the parts; id i has the name at index i - 1.
        nested: id of a part (a word, an object in a photograph) to the id of the part that contains it.
    """

    image: np.ndarray
    parts: np.ndarray
    cover: np.ndarray
    names: list[str] = field(default_factory=list)
    nested: dict[int, int] = field(default_factory=dict)

    @classmethod
    def on(cls, ground: np.ndarray) -> Print:
        """A banner with the ground (height, width, 3) only."""
        return cls(ground, np.zeros(ground.shape[:2], np.uint8), np.full(ground.shape[:2], 255, np.uint8))

    def mark(self, name: str, box: Box, inside: np.ndarray | None = None, within: int = 0) -> int:
        """Mark the pixels of a box as a part.

        Args:
            name: name of the part.
            box: in pixels of the banner.
            inside: bool (h, w), the pixels of the part within the box; None for all.
            within: id of the part that contains it; 0 for none.

        Returns:
            its id, or 0 if the ids are exhausted.
        """
        x0, y0, x1, y1 = box
        if len(self.names) >= _MOST:
            return 0
        self.names.append(name)
        self.parts[y0:y1, x0:x1][... if inside is None else inside] = len(self.names)
        if within:
            self.nested[len(self.names)] = within
        return len(self.names)


def text(rng: Rng, sheet: Print, box: Box, ink: RGB, lines: int | None = None, within: int = 0) -> None:
    """Fill the box with centered or left-aligned lines of text, the first or second one the largest.

    Words are parts of their line. Lines on a strip or band (`within`) are parts of it, without words.
    """
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
        line = sheet.mark("text", (x, y, x + columns, y + rows), within=within)
        for start, end in _words(cover) if line and not within else ():
            sheet.mark("word", (x + start, y, x + end, y + rows), within=line)


def _words(cover: np.ndarray) -> list[tuple[int, int]]:
    """First and last column (exclusive) of each word of a line; empty if there is only one."""
    bare = np.flatnonzero(cover.max(axis=0) < 40)
    runs = np.split(bare, np.flatnonzero(np.diff(bare) > 1) + 1)
    gaps = [(int(run[0]), int(run[-1]) + 1) for run in runs if len(run) > _GAP * cover.shape[0]]
    starts, ends = [0, *(end for _, end in gaps)], [*(start for start, _ in gaps), cover.shape[1]]
    return list(zip(starts, ends, strict=True)) if gaps else []


def logo(rng: Rng, sheet: Print, box: Box, ground: RGB) -> None:
    """A badge: an outline, a smaller one inside, sometimes with one or two letters."""
    x0, y0, x1, y1 = box
    center, reach = ((x0 + x1) / 2, (y0 + y1) / 2), 0.48 * min(x1 - x0, y1 - y0)
    color = ink(rng, ground)
    outlines = [(things.silhouette(rng), 1.0, color), (things.silhouette(rng), 0.62, apart(rng, [color], _INK))]
    badge = 0
    for outline, size, fill in outlines:
        outline = outline / max(float(np.abs(outline).max()), 1e-3)
        points = shapes.place(outline, center=center, scale=(reach * size, reach * size), angle=rng.normal(0, 0.3))
        corners = [np.round(points * 16).astype(np.int32)]
        cv2.fillPoly(sheet.image, corners, fill, cv2.LINE_AA, 4)
        drawn = np.zeros_like(sheet.parts)
        cv2.fillPoly(drawn, corners, 1, shift=4)
        if badge:
            drawn[sheet.parts != badge] = 0
        badge = sheet.mark("logo", (0, 0, drawn.shape[1], drawn.shape[0]), drawn > 0, within=badge)
    if rng.uniform() < 0.5:
        inner = (int(center[0] - reach * 0.35), int(center[1] - reach * 0.35))
        text(rng, sheet, (*inner, int(center[0] + reach * 0.35), int(center[1] + reach * 0.35)), color, lines=1)


def photo(rng: Rng, sheet: Print, box: Box) -> None:
    """A photograph: a small random scene."""
    x0, y0, x1, y1 = box
    if x1 - x0 < 4 or y1 - y0 < 4:
        return
    side = 112
    scene, colors = background(rng, side)
    canvas, catalog = Canvas.on(scene), things.catalog()
    wide = (x1 - x0) / (y1 - y0)
    names = ["face", "person", "car", "bottle", "animal", "plant", "vessel", "house", "shape", "box"]
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        layers = catalog[str(rng.choice(names))][1](rng, apart(rng, colors))
        reach = side * rng.uniform(0.2, 0.42)
        # the square scene is resized to the aspect of the panel; objects are drawn with the inverse distortion
        scale = (reach / max(wide, 1) ** 0.7, reach * min(wide, 1) ** 0.7)
        canvas.add(rng, "thing", layers, center=tuple(rng.uniform(0.25, 0.75, 2) * side), scale=scale)
    panel = cv2.resize(canvas.image, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    things_ = cv2.resize(canvas.objects, (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST)
    if rng.uniform() < 0.75:
        sheet.image[y0:y1, x0:x1] = panel
        _mark_photo(sheet, box, np.ones(panel.shape[:2], bool), things_)
        return
    cover = np.zeros(panel.shape[:2], np.uint8)
    center, axes = ((x1 - x0) // 2, (y1 - y0) // 2), (max((x1 - x0) // 2 - 1, 1), max((y1 - y0) // 2 - 1, 1))
    cv2.ellipse(cover, center, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    blend(sheet.image[y0:y1, x0:x1], panel, cover)
    _mark_photo(sheet, box, cover > 127, things_)


def _mark_photo(sheet: Print, box: Box, inside: np.ndarray, things_: np.ndarray) -> None:
    """Mark the photograph as a part, and each object in it as a part of the photograph."""
    whole = sheet.mark("photograph", box, inside)
    for thing in np.unique(things_[inside & (things_ > 0)]) if whole else ():
        sheet.mark("thing", box, inside & (things_ == thing), within=whole)


def ink(rng: Rng, ground: RGB) -> RGB:
    """A legible color on the ground: black, white, or a distant color."""
    if rng.uniform() < 0.45:
        return (248.0, 246.0, 240.0) if sum(ground) < 380 else (25.0, 25.0, 30.0)
    return apart(rng, [ground], _INK)


def _ink_on(below: np.ndarray, ink: RGB, cover: np.ndarray) -> None:
    above = np.empty_like(below)
    above[:] = ink
    blend(below, above, cover[: below.shape[0], : below.shape[1]])


__all__ = ["Box", "Print", "ink", "logo", "photo", "text"]
