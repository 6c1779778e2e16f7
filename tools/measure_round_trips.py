"""Write and read small scenes in every output format, and in every pair of formats: results/round-trips.json.

    python tools/measure_round_trips.py

The scenes have holes, separate parts, thin lines, single pixels, overlapping and hidden objects, and class names with a
slash. What a format can hold is computed here, independently of the writers: objects, objects with the pixels that no
smaller object covers (index maps), or one region for each class.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))
import results
from results import Column, Table
from samtailor.data.dataset import open_dataset
from samtailor.data.writers import Destination, LabelledImage, LabelledObject, WriteReport, write_dataset
from samtailor.masks.rle import encode
from samtailor.structures import Sample

SIZE = (80, 112)
CLASSES = ("ring", "a/b", "Große Schraube")
Masks = list[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class Variant:
    """A format with its options, and how its files are read.

    Args:
        format: name of the writer.
        reader: name of the layout.
        holds: "objects", "visible" (index maps: the smaller object is on top), "classes" (one region for each class) or
            "visible classes".
        exact: masks come back as they were written; otherwise within one pixel of their outline.
        options: of the writer.
        reading: options of the reader.
        parts: separate parts of an object become objects.
    """

    format: str
    reader: str
    holds: str = "objects"
    exact: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    reading: Mapping[str, Any] = field(default_factory=dict)
    parts: bool = False


RLE = {"rle": True}
DRAFTS = {"predictions": True}
VARIANTS = {
    "coco": Variant("coco", "coco", exact=False),
    "coco-rle": Variant("coco", "coco", options=RLE),
    "cvat": Variant("cvat", "cvat", exact=False),
    "cvat-rle": Variant("cvat", "cvat", options=RLE),
    "instances": Variant("instances", "instances", "visible"),
    "label-studio": Variant("label-studio", "label-studio", exact=False, reading=DRAFTS, parts=True),
    "label-studio-rle": Variant("label-studio", "label-studio", options=RLE, reading=DRAFTS),
    "labelmap": Variant("labelmap", "labelmap", "visible classes"),
    "labelme": Variant("labelme", "labelme", exact=False),
    "masks": Variant("masks", "folder", "classes"),
    "sa-1b": Variant("sa-1b", "sa-1b"),
    "voc": Variant("voc", "voc", "visible"),
    "yolo": Variant("yolo", "yolo", exact=False),
}


@dataclass
class Score:
    """Agreement of what was read back with what the format can hold."""

    expected: int = 0
    back: int = 0
    ious: list[float] = field(default_factory=list)
    beyond: int = 0

    @property
    def complete(self) -> bool:
        """Whether every expected object came back, and nothing else."""
        return self.back == self.expected == len(self.ious)


def scenes(folder: Path) -> list[LabelledImage]:
    """The images, written to a folder, with their objects."""
    return [_image(folder, name, objects) for name, objects in _scenes().items()]


def _image(folder: Path, name: str, objects: Masks) -> LabelledImage:
    file = folder / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)).save(file)
    made = tuple(
        LabelledObject(label, encode(mask), round(0.95 - 0.05 * place, 6), "adapter")
        for place, (label, mask) in enumerate(objects)
    )
    return LabelledImage(name, file, *SIZE, made)


def _scenes() -> dict[str, Masks]:
    ring, slash, screw = CLASSES
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    far = np.hypot(y - 30, x - 36)
    annulus = (far < 24) & (far > 9)
    apart = annulus | ((abs(y - 66) < 6) & (abs(x - 90) < 9))
    ragged = cv2.GaussianBlur(np.random.default_rng(3).random(SIZE), (0, 0), 4) > 0.51
    line, dot = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    line[70, 5:60] = line[40:70, 5] = dot[10, 100] = True
    box = (y >= 8) & (y < 30) & (x >= 70) & (x < 104)
    return {
        "holes and parts": [(ring, apart), (slash, box), (screw, (far < 7))],
        "thin": [(ring, line), (slash, dot), (screw, (abs(y - 20) < 2) & (abs(x - 50) < 30))],
        "ragged": [(slash, ragged)],
        "trip/overlapping": [
            (ring, far < 24), (ring, (y > 25) & (y < 60) & (x > 40) & (x < 95)), (slash, box), (screw, box),
            (slash, (abs(y - 30) < 5) & (abs(x - 36) < 5)),
        ],
        "without objects": [],
        "whole image": [(screw, np.ones(SIZE, bool))],
    }  # fmt: skip


def can_hold(objects: Masks, holds: str) -> Masks:
    """What a format can hold of the objects of an image, in any order."""
    objects = [(label, mask) for label, mask in objects if mask.any()]
    if holds.startswith("visible"):
        objects = _visible(objects)
    if holds.endswith("classes"):
        labels = dict.fromkeys(label for label, _ in objects)
        objects = [(one, np.logical_or.reduce([m for label, m in objects if label == one])) for one in labels]
    return objects


def _visible(objects: Masks) -> Masks:
    """Every object without the pixels of smaller ones (of two equal ones the first is on top)."""
    areas = [int(mask.sum()) for _, mask in objects]
    result = []
    for place, (label, mask) in enumerate(objects):
        above = [m for i, (_, m) in enumerate(objects) if (areas[i], i) < (areas[place], place)]
        left = mask & ~np.logical_or.reduce(above) if above else mask
        if left.any():
            result.append((label, left))
    return result


def in_parts(objects: Masks) -> Masks:
    """The connected parts (8 neighbors) of all objects."""
    parts = []
    for label, mask in objects:
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        parts += [(label, labels == number) for number in range(1, count)]
    return parts


def written(variant: Variant, images: Iterable[LabelledImage], folder: Path, classes: Sequence[str]) -> WriteReport:
    """Write the images in a format."""
    return write_dataset(variant.format, Destination(folder), images, classes, variant.options)


def back(variant: Variant, folder: Path) -> dict[str, Masks]:
    """Objects that the reader of a format returns, by the digest of the image file."""
    samples = open_dataset(folder, format=variant.reader, **variant.reading)
    return {digest(sample.source): [(one.label, one.mask) for one in sample.of(None)] for sample in samples}


def labeled(samples: Iterable[Sample]) -> Iterator[LabelledImage]:
    """Samples of a data set as a writer takes them."""
    for sample in samples:
        height, width = sample.size
        objects = tuple(LabelledObject(one.label, one.rle, 1.0) for one in sample.of(None))
        yield LabelledImage(sample.id, sample.source, height, width, objects)


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def compared(given: Mapping[str, Masks], read_back: Mapping[str, Masks], variant: Variant) -> Score:
    """Match what was read back with what the format can hold, image by image and class by class, best pairs first."""
    score = Score()
    for key, objects in given.items():
        expected = can_hold(objects, variant.holds)
        if variant.parts:
            expected = in_parts(expected)
        got = list(read_back.get(key, ()))
        score.expected += len(expected)
        score.back += len(got)
        pairs = [
            (_iou(mask, other), i, j)
            for i, (label, mask) in enumerate(expected)
            for j, (name, other) in enumerate(got)
            if label == name
        ]
        left, right = set(range(len(expected))), set(range(len(got)))
        for iou, i, j in sorted(pairs, reverse=True):
            if i in left and j in right and iou > 0:
                left.remove(i)
                right.remove(j)
                score.ious.append(iou)
                score.beyond += not within_a_pixel(expected[i][1], got[j][1])
    return score


def within_a_pixel(mask: np.ndarray, other: np.ndarray) -> bool:
    """Whether two masks differ only in pixels that touch the outline of the first."""
    kernel = np.ones((3, 3), np.uint8)
    grown, core = cv2.dilate(mask.astype(np.uint8), kernel), cv2.erode(mask.astype(np.uint8), kernel)
    return not (other & (grown == 0)).any() and not ((core == 1) & ~other).any()


def _iou(mask: np.ndarray, other: np.ndarray) -> float:
    return float((mask & other).sum() / (mask | other).sum()) if (mask | other).any() else 1.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--results", type=Path, help="file to write; default: results/round-trips.json")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        once, pairs = measured(Path(name))
    notes = (
        "Small scenes with holes, separate parts, thin lines, single pixels and overlapping objects.",
        "Expected: what the format can hold of them.",
    )
    title, units = "Written and read again, in every pair of formats", "numbers of objects; IoU from 0 to 1"
    results.save(
        "round-trips", {"formats": once, "pairs": pairs}, title=title, units=units, base=None, notes=notes,
        file=given.results,
    )  # fmt: skip


def measured(folder: Path) -> tuple[Table, Table]:
    """The tables: each format alone, and all pairs."""
    images = scenes(folder / "images")
    truth = {digest(one.source): [(o.label, o.mask) for o in one.objects] for one in images}
    total = sum(len(one.objects) for one in images)
    rows, pairs = {}, {}
    for name, variant in VARIANTS.items():
        report = written(variant, images, folder / name, CLASSES)
        first = back(variant, folder / name)
        score = compared(truth, first, variant)
        rows[name] = {
            "format": _shown(name), "given": total, "left": report.left_out.total(),
            "changed": report.changed.total(), "expected": score.expected, "back": score.back,
            "mean": float(np.mean(score.ious)), "lowest": min(score.ious), "beyond": score.beyond,
        }  # fmt: skip
        samples = open_dataset(folder / name, format=variant.reader, **variant.reading)
        classes = sorted({one.label for sample in samples for one in sample.of(None)})
        pairs[name] = {"format": _shown(name)}
        for other, second in VARIANTS.items():
            place = folder / f"{name} to {other}"
            written(second, labeled(samples), place, classes)
            again = compared(first, back(second, place), second)
            pairs[name][other] = min(again.ious) if again.complete else 0.0
            print(name, other, again.expected, again.back, min(again.ious), again.beyond, flush=True)
    return _once(rows), _pairs(pairs)


def _once(rows: dict[str, dict[str, Any]]) -> Table:
    columns = (
        Column(key="format", label="`--format`"),
        Column(key="given", label="objects", digits=None),
        Column(key="left", label="left out, counted", digits=None),
        Column(key="changed", label="changed, counted", digits=None),
        Column(key="expected", label="expected", digits=None),
        Column(key="back", label="read back", digits=None),
        Column(key="mean", label="mean IoU", digits=3),
        Column(key="lowest", label="lowest IoU", digits=3),
        Column(key="beyond", label="off by more than a pixel", digits=None),
    )
    note = "Polygons stay within half a pixel of the outline, which is much for lines one pixel wide."
    return Table(title="Each format", columns=columns, rows=rows, note=note)


def _pairs(rows: dict[str, dict[str, Any]]) -> Table:
    columns = [Column(key="format", label="read from \\ written to")]
    columns += [Column(key=name, label=_shown(name), digits=2) for name in VARIANTS]
    note = "Lowest IoU of all objects after reading the row's format, writing the column's and reading that; 0: lost."
    return Table(title="Every pair", columns=tuple(columns), rows=rows, note=note)


def _shown(name: str) -> str:
    return f"`{name.removesuffix('-rle')}` `--rle`" if name.endswith("-rle") else f"`{name}`"


if __name__ == "__main__":
    main()
