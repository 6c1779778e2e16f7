"""Where training images come from, and in which shares.

Only openly licensed images are read: see `ATTRIBUTIONS`. Every fifth nuclei image by sorted name is held out, and every
tenth of the other real sets; procedural seeds from `HELD_OUT` on are never drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from bundled_base.blobs import blobs
from bundled_base.compose import CutOut, Drawings, cut_out, paste
from bundled_base.facades import Facades
from bundled_base.images import Labelled, Rng
from bundled_base.portraits import portrait
from samtailor.data.synth import backgrounds, banners, scenes

HELD_OUT = 10_000_000  # procedural seeds from here on are never trained on
OPEN_SETS = {"granular": 2.0, "nasa_micrographs": 2.5, "pebbles": 0.7, "breadboard": 1.0, "wagons": 0.8}
OPEN_SETS |= {"qr_photos": 0.7, "coffee_leaf": 1.3, "nuclei": 3.0}
SHARES = {"scenes": 0.24, "streets": 0.05, "fashion": 0.19, "instances": 0.17, "drawings": 0.16, "cutouts": 0.05}
SHARES |= {"blobs": 0.08, "portraits": 0.06, "facades": 0.06}


def held_out_every(name: str) -> int:
    """Each how many-th image by sorted name of a real set is held out."""
    return 5 if name == "nuclei" else 10


def training_images(folder: Path) -> list[Path]:
    """Images of a real set that may be trained on."""
    every = held_out_every(folder.name)
    return [p for i, p in enumerate(sorted((folder / "images").iterdir())) if i % every != every - 1]


def held_out_images(folder: Path) -> list[Path]:
    """Images of a real set that are never trained on."""
    every = held_out_every(folder.name)
    return sorted((folder / "images").iterdir())[every - 1 :: every]


def scene(rng: Rng) -> Labelled:
    """A procedural scene."""
    canvas = scenes.paint(np.random.default_rng(int(rng.integers(HELD_OUT))), int(rng.choice([256, 384])))
    return _of_canvas(canvas, complete=True, source="scenes")


def street(rng: Rng) -> Labelled:
    """A procedural street with banners; never one that `banner_scene` draws."""
    shape = (240, 320) if rng.uniform() < 0.5 else (360, 480)
    canvas, _ = banners.paint(np.random.default_rng([1, int(rng.integers(HELD_OUT))]), shape)
    return _of_canvas(canvas, complete=False, source="streets")


def _of_canvas(canvas, *, complete: bool, source: str) -> Labelled:
    owner = dict(enumerate(canvas.part_owner, 1))
    ids = (canvas.objects.astype(np.uint16), canvas.parts.astype(np.uint16))
    return Labelled(canvas.image, *ids, owner, complete, dict(canvas.groups), dict(canvas.nested), (source,))


class Instances:
    """A real set with instance ids and, where it has them, parts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.paths = folder, training_images(folder)

    def draw(self, rng: Rng) -> Labelled:
        """A random training image."""
        return self.read(self.paths[rng.integers(len(self.paths))])

    def read(self, path: Path) -> Labelled:
        """One image with its ids."""
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        objects = cv2.imread(str(self.folder / "labels" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED).astype(np.uint16)
        file = self.folder / "parts" / f"{path.stem}.png"
        parts = np.zeros_like(objects)
        if file.exists():
            parts = cv2.imread(str(file), cv2.IMREAD_UNCHANGED).astype(np.uint16)
        owner = {int(p): int(np.bincount(objects[parts == p]).argmax()) for p in np.unique(parts) if p}
        return Labelled(image, objects, parts, owner, complete=False, sources=(self.folder.name,))


class Fashion:
    """Dressed people (clothing-co-parsing): the person is the object, connected pieces of a class are parts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.paths = folder, training_images(folder)

    def draw(self, rng: Rng) -> Labelled:
        """A random training image."""
        return self.read(self.paths[rng.integers(len(self.paths))])

    def read(self, path: Path) -> Labelled:
        """One image with its ids."""
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        classes = cv2.imread(str(self.folder / "labels" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        parts, count = np.zeros(classes.shape, np.uint16), 0
        for name in np.unique(classes[classes > 0]):
            pieces, labels, stats, _ = cv2.connectedComponentsWithStats((classes == name).astype(np.uint8))
            for piece in range(1, pieces):
                if stats[piece, cv2.CC_STAT_AREA] >= 80:
                    count += 1
                    parts[labels == piece] = count
        objects = (classes > 0).astype(np.uint16)
        owner, sources = dict.fromkeys(range(1, count + 1), 1), (self.folder.name,)
        return Labelled(image, objects, parts, owner, complete=False, sources=sources)


class Sources:
    """All sources together.

    Args:
        data: folder with `street_fashion`, `nuclei` and `facades`.
        data_open: folder with the openly licensed sets.
        drawings: folder of prepared drawings.
    """

    def __init__(self, data: Path, data_open: Path, drawings: Path) -> None:
        self.fashion, self.drawings = Fashion(data / "street_fashion"), Drawings(drawings)
        folders = {name: (data if name == "nuclei" else data_open) / name for name in OPEN_SETS}
        self.sets = {name: Instances(folder) for name, folder in folders.items()}
        self.facades = Facades(data / "facades", training_images(data / "facades"))

    def stream(self, seed: int) -> Iterator[tuple[Rng, Labelled]]:
        """Endless (generator, image)."""
        rng, names = np.random.default_rng(seed), list(SHARES)
        shares = np.array([SHARES[name] for name in names])
        while True:
            yield rng, self.draw(rng, str(rng.choice(names, p=shares / shares.sum())))

    def draw(self, rng: Rng, name: str) -> Labelled:
        """A random image of one source."""
        if name == "scenes":
            return scene(rng)
        if name == "streets":
            return street(rng)
        if name == "fashion":
            return self.fashion.draw(rng)
        if name == "instances":
            return self._instances(rng)
        if name == "facades":
            return self.facades.draw(rng)
        if name == "blobs":
            behind = self._background(rng) if rng.uniform() < 0.3 else None
            return blobs(rng) if behind is None else _onto(blobs(rng, _enlarged(rng, behind.image)), behind)
        if name == "portraits":
            behind = self._background(rng)
            return _onto(portrait(rng, cv2.resize(behind.image, (384, 384), interpolation=cv2.INTER_AREA)), behind)
        return self._pasted(rng, name)

    def _instances(self, rng: Rng) -> Labelled:
        weights = np.array(list(OPEN_SETS.values()))
        return self.sets[str(rng.choice(list(OPEN_SETS), p=weights / weights.sum()))].draw(rng)

    def _pasted(self, rng: Rng, name: str) -> Labelled:
        count = int(rng.choice([1, 2, 3, 5], p=[0.35, 0.3, 0.2, 0.15]))
        onto = self._background(rng)
        items = [self.drawings.draw(rng) if name == "drawings" else self._cut_out(rng) for _ in range(count)]
        return paste(rng, onto, items)

    def _cut_out(self, rng: Rng) -> CutOut:
        """An object of a photograph that covers a fair share of it, or a drawing."""
        for _ in range(4):
            photo = self.fashion.draw(rng) if rng.uniform() < 0.6 else self._instances(rng)
            ids, counts = np.unique(photo.objects, return_counts=True)
            large = ids[(ids > 0) & (counts > 1500)]
            if len(large):
                return cut_out(photo, int(rng.choice(large)))
        return self.drawings.draw(rng)

    def _background(self, rng: Rng) -> Labelled:
        """A procedural background, or a photograph or facade with what is labelled in it; not complete then."""
        kind = rng.uniform()
        if kind < 0.35:
            image = backgrounds.background(rng, 384)[0]
            return Labelled(image, np.zeros((384, 384), np.uint16), np.zeros((384, 384), np.uint16))
        if kind < 0.6:
            return self.facades.crop(rng)
        if kind < 0.85:
            photo = self.fashion.draw(rng) if rng.uniform() < 0.6 else self._instances(rng)
            return Labelled(photo.image, photo.objects, photo.parts, photo.owner, False, sources=photo.sources)
        return scene(rng)


def _enlarged(rng: Rng, image: np.ndarray) -> np.ndarray:
    """A small piece of an image, enlarged to 384 x 384 and blurred."""
    side = int(min(image.shape[:2]) * rng.uniform(0.06, 0.4))
    top, left = (int(rng.integers(0, n - side + 1)) for n in image.shape[:2])
    piece = cv2.resize(image[top : top + side, left : left + side], (384, 384), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(piece, (0, 0), rng.uniform(1, 8))


def _onto(labelled: Labelled, behind: Labelled) -> Labelled:
    """`labelled` with the sources of its background, of which it shows the image alone.

    It is complete only where nothing in the background can be an object: objects of a photograph or of a scene have no
    ids here.
    """
    complete = labelled.complete and behind.complete and not behind.objects.any()
    return replace(labelled, sources=(*labelled.sources, *behind.sources), complete=complete)
