"""YOLO segmentation: images/ and labels/ with train/ and val/, one polygon per object, and data.yaml."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import yaml

from samtailor.data.image import read_image
from samtailor.data.split import split
from samtailor.data.writers import Destination, LabelledImage
from samtailor.data.writing import replacing
from samtailor.errors import DataError
from samtailor.registry import number
from samtailor.structures import Sample

POLYGONS = "whole"
TRAIN, VAL = "train", "val"
JOINED = "separate parts are one polygon, joined by a cut of no width"


def write(to: Destination, images: Iterable[LabelledImage], classes: Sequence[str], *, val: float = 0.2) -> None:
    """Write the data set. Parts and holes of an object are joined into one polygon; the format has no scores.

    The paths in data.yaml are relative to its folder, without the key `path`: ultralytics resolves them there, from any
    working directory.

    Args:
        to, images, classes: see `data.writers`.
        val: share of the images in val/, 0 to 1. Near-duplicates stay on one side; at least one image is in val/ if
            there are two that differ. 0 writes everything to train/, and data.yaml names it for both.
    """
    number("val", val, at_least=0, at_most=1)
    ids = {label: place for place, label in enumerate(classes)}
    sources: dict[str, Path] = {}
    for image in images:
        place = to.put(image, f"images/{TRAIN}")
        sources[image.name] = image.source
        lines = []
        for one in image.objects:
            ring = to.whole(one)
            if ring is None:
                to.report.leave_out(image.name, one.label, "the mask has no outline")
                continue
            lines.append(_line(ids[one.label], ring, image))
            if _several(one.mask):
                to.report.change(image.name, one.label, JOINED)
        with replacing(_labels(to, TRAIN, image.name)) as file:
            file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        _labels(to, VAL, image.name).unlink(missing_ok=True)  # of an earlier run with another split
        if not place.is_absolute():
            (to.folder / "images" / VAL / place.relative_to(f"images/{TRAIN}")).unlink(missing_ok=True)
    held_out = _held_out(sources, val, to)
    for name in held_out:
        _move(to, name, sources[name].suffix)
    if to.images == "none" and sources:
        to.report.notes.append(
            f"YOLO pairs images and labels by their folders, so copy the images to images/{TRAIN} and images/{VAL} "
            "before training."
        )
    sheet = {TRAIN: f"images/{TRAIN}", VAL: f"images/{VAL if held_out else TRAIN}", "names": dict(enumerate(classes))}
    with replacing(to.folder / "data.yaml") as file:
        file.write_text(yaml.safe_dump(sheet, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _line(place: int, ring: np.ndarray, image: LabelledImage) -> str:
    relative = np.clip(ring / np.array([image.width, image.height]), 0, 1)
    return " ".join([str(place), *(f"{value:.6f}" for value in relative.ravel())])


def _several(mask: np.ndarray) -> bool:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] > 2


def _labels(to: Destination, part: str, name: str) -> Path:
    return to.folder / "labels" / part / f"{name}.txt"


def _held_out(sources: dict[str, Path], val: float, to: Destination) -> tuple[str, ...]:
    """Names of the images of val/."""
    if not val or not sources:
        return ()
    count = min(max(1, round(val * len(sources))), len(sources) - 1)
    if not count:
        to.report.notes.append("There is a single image: data.yaml names it for training and for validation.")
        return ()
    samples = [Sample(name, partial(read_image, file), list, source=file) for name, file in sources.items()]
    try:
        parts = split(samples, val=count, test=0)
    except DataError:  # one group of near-duplicates
        to.report.notes.append("All images are near-duplicates, and val/ has copies of images of train/.")
        parts = split(samples, val=count, test=0, near_duplicates=False)
    to.report.notes.extend(f"Split: {notice}" for notice in parts.notices)
    return parts.val


def _move(to: Destination, name: str, suffix: str) -> None:
    """Move an image and its labels from train/ to val/."""
    pairs = [(_labels(to, TRAIN, name), _labels(to, VAL, name))]
    if to.images != "none":
        image = f"{name}{suffix}"
        pairs.append((to.folder / "images" / TRAIN / image, to.folder / "images" / VAL / image))
    for source, target in pairs:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
