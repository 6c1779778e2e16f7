"""Building fronts with boxes: windows, doors and signboards are objects whose masks are their boxes.

The boxes are weak labels: what is not boxed may be an object too, and outlines are only roughly those of the objects.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from bundled_base.images import Labelled, Rng

CLASSES = {2: "door", 3: "signboard", 5: "window"}
"""Class numbers of data.yaml that are objects; arches, cantilevers and advertisements on windows are not."""
INSIDE = 0.8  # a box with this share of its area in a larger one is a part of it
SIDE = 384


class Facades:
    """Photographs of facades with YOLO boxes.

    Args:
        folder: with `images` and `labels`.
        paths: the images of it that may be drawn.
    """

    def __init__(self, folder: Path, paths: list[Path]) -> None:
        self.folder, self.paths = folder, paths

    def draw(self, rng: Rng) -> Labelled:
        """A random image."""
        return self.read(self.paths[rng.integers(len(self.paths))])

    def crop(self, rng: Rng) -> Labelled:
        """A random square of a random image, 384 x 384."""
        whole = self.draw(rng)
        side = int(min(whole.objects.shape) * rng.uniform(0.3, 1))
        top, left = (int(rng.integers(0, n - side + 1)) for n in whole.objects.shape)
        window = (slice(top, top + side), slice(left, left + side))
        image = cv2.resize(whole.image[window], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        ids = [
            cv2.resize(m[window], (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) for m in (whole.objects, whole.parts)
        ]
        return Labelled(image, *ids, whole.owner, complete=False, sources=whole.sources, boxed=whole.boxed)

    def read(self, path: Path) -> Labelled:
        """One image with the boxes of `CLASSES` as ids, smaller boxes in front of larger ones."""
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        boxes = read_boxes(self.folder / "labels" / f"{path.stem}.txt", image.shape[:2])
        objects, parts = np.zeros(image.shape[:2], np.uint16), np.zeros(image.shape[:2], np.uint16)
        owner: dict[int, int] = {}
        count = 0
        whole: list[tuple[slice, slice]] = []
        for box in sorted(boxes, key=_area, reverse=True):
            around = next((i for i, other in enumerate(whole, 1) if _shared(box, other) >= INSIDE * _area(box)), None)
            if around is None:
                whole.append(box)
                objects[box], parts[box] = len(whole), 0
            else:
                count += 1
                visible = objects[box] == around
                parts[box][visible] = count
                owner[count] = around
        owner = {part: number for part, number in owner.items() if (parts == part).any()}
        boxed = frozenset(range(1, len(whole) + 1))
        return Labelled(image, objects, parts, owner, complete=False, sources=(self.folder.name,), boxed=boxed)


def read_boxes(file: Path, shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Rows and columns of the boxes of `CLASSES` in a YOLO file, clipped to the image; those below 2 px are left out.

    Args:
        file: lines of a class number, then center x, center y, width and height as shares of the image.
        shape: height and width of the image.

    Raises:
        ValueError: a line has other than five numbers.
    """
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        values = line.split()
        if not values:
            continue
        if len(values) != 5:
            raise ValueError(f"{file}: expected a class number and four numbers of a box, found {line!r}.")
        if int(values[0]) not in CLASSES:
            continue
        x, y, w, h = map(float, values[1:])
        ends = [(y - h / 2, y + h / 2), (x - w / 2, x + w / 2)]
        box = tuple(
            slice(*(round(min(max(end, 0.0), 1.0) * n) for end in pair)) for pair, n in zip(ends, shape, strict=True)
        )
        if all(one.stop - one.start >= 2 for one in box):
            found.append((box[0], box[1]))
    return found


def _area(box: tuple[slice, slice]) -> int:
    return (box[0].stop - box[0].start) * (box[1].stop - box[1].start)


def _shared(box: tuple[slice, slice], other: tuple[slice, slice]) -> int:
    """Pixels that two boxes share."""
    sides = [min(a.stop, b.stop) - max(a.start, b.start) for a, b in zip(box, other, strict=True)]
    return max(0, sides[0]) * max(0, sides[1])
