"""Masks of a data set: whether they are binary, instance maps or class maps, and their annotations.

The decision is made once for the data set, from a sample of its masks, and `samtailor check` shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from samtailor.data.account import OTHER_CLASS, count, describe, leave_out
from samtailor.data.class_lists import NOTHING, read_names
from samtailor.data.image import header, read_index, read_levels, read_mask
from samtailor.data.index_maps import of_classes, of_instances
from samtailor.data.layout import mask_annotation
from samtailor.data.mask_values import inspect
from samtailor.data.placement import to_image_frame
from samtailor.errors import DataError
from samtailor.registry import choose
from samtailor.structures import Annotation

VALUES = ("auto", "binary", "inverted", "instances", "classes")
_SAMPLED = 12
_FEW = 0.5  # share of values in one piece from which on numbers are objects


@dataclass(frozen=True)
class Meaning:
    """What the values of masks mean.

    Args:
        kind: "binary", "inverted" (binary, where the object is black), "instances" or "classes".
        names: class names by value, for "classes".
        void: values of instance maps that are no objects, and of class maps whose name means no class.
    """

    kind: str
    names: Mapping[int, str] | None = None
    void: tuple[int, ...] = ()


def meaning(
    masks: Sequence[Path], values: str = "auto", names: Path | None = None, first: int | None = None
) -> Meaning:
    """Decide what the values of the masks of a data set mean.

    Args:
        masks: the mask files; a sample of them is read.
        values: "binary", "inverted", "instances" or "classes"; "auto" decides. Two levels, soft edges and gradients are
            binary masks. Constant regions with different values are classes if there is a file of class names, else
            objects if most values are one connected piece.
        names: file of class names.
        first: see `class_lists.read_names`.

    Raises:
        DataError: class maps without class names, masks of several colors, or masks of different kinds.
        InputError: another value of `values`.
    """
    choose("values", values, VALUES)
    sampled = list(masks)[:: max(1, len(masks) // _SAMPLED)][:_SAMPLED]
    sampled = [file for file in sampled if _is_readable(file)]  # the others are reported when they are used
    if values in ("binary", "inverted") or not sampled:
        return Meaning("inverted" if values == "inverted" else "binary")
    if values == "auto":
        values = _decided(sampled, names)
    if values == "instances":
        return Meaning("instances", void=_void(sampled))
    if values == "classes":
        if names is None:
            raise DataError(
                f"{sampled[0]}: class maps need class names by value. Add classes.txt (one name a line) or labels.json."
            )
        seen = {int(value) for file in sampled for value in np.unique(read_index(file))}
        table = read_names(names, first=first, seen=seen)
        empty = tuple(i for i, name in table.items() if i > 0 and name.lower() in NOTHING)
        return Meaning("classes", {i: n for i, n in table.items() if i > 0 and i not in empty}, empty)
    return Meaning("binary")


def _is_readable(file: Path) -> bool:
    try:
        read_levels(file)
    except DataError:
        return False
    return True


def _decided(masks: Sequence[Path], names: Path | None) -> str:
    shares, soft, several = [], 0, 0
    numbers: list[tuple[float, ...]] = []  # of masks without background
    for file in masks:
        levels = read_levels(file)
        seen = inspect(levels)
        soft += seen.kind == "soft"
        if seen.kind == "numbers":
            several += 1
            shares.append(seen.connected)
            numbers += [tuple(np.unique(levels).tolist())] if levels.all() else []
        elif _colors(file) > 1:
            raise DataError(
                f"{file}: the mask has several colors, which may be classes or objects. Add a palette (labelmap.txt: "
                "name:r,g,b) for classes, or use the option values=binary to read every color as one object."
            )
    sample = f"{several} of {len(masks)} sampled masks have several regions of constant value"
    if not several:
        if names is not None and not soft and any(len(np.unique(read_levels(file))) > 1 for file in masks):
            return _single_level(masks, names)
        describe(f"masks: {'soft or antialiased, cut at half their range' if soft else 'binary'} (certain)")
        return "binary"
    if names is not None:
        describe(f"masks: class maps, named by {names.name}; {sample} (values=instances reads objects)")
        return "classes"
    if len(numbers) == len(masks) > 1 and len(set(numbers)) == 1:
        shown = ", ".join(f"{value:g}" for value in numbers[0][:8])
        raise DataError(
            f"{masks[0].parent}: every pixel of the masks has one of the same values above 0 ({shown}), as in class "
            "maps and trimaps. Add classes.txt or labels.json with their names (background: none), or use the option "
            "values=instances."
        )
    if sum(shares) / len(shares) < _FEW:
        raise DataError(
            f"{masks[0].parent}: {sample}, most of them in several pieces, as classes have. Add classes.txt or "
            "labels.json with their names, or use the option values=instances or values=binary."
        )
    describe(f"masks: instance maps, one object per value; {sample} (values=binary joins them)")
    return "instances"


def _single_level(masks: Sequence[Path], names: Path) -> str:
    """Masks of one value above 0 beside a file of names: classes if the values are small numbers, else binary."""
    seen = {float(value) for file in masks for value in np.unique(read_levels(file)) if value > 0}
    if max(seen) < 255 and len(seen) > 1:
        describe(f"masks: class maps, named by {names.name} (values=binary reads one class)")
        return "classes"
    describe("masks: binary (certain)")
    return "binary"


def _colors(file: Path) -> int:
    """Number of colors that each cover a noticeable part of a color mask; 0 for gray, palette and lossy masks."""
    with Image.open(file) as image:
        if image.mode != "RGB" or image.format in ("JPEG", "MPO", "WEBP"):
            return 0
        image.thumbnail((512, 512), Image.Resampling.NEAREST)
        values = np.asarray(image).reshape(-1, 3)
    colors, counts = np.unique(values[values.any(axis=1)], axis=0, return_counts=True)
    bright = colors[counts > 0.02 * counts.sum()] if len(colors) else colors
    hues = {tuple(np.round(color / color.max(), 1)) for color in bright.astype(float)}
    return len(hues)


def _void(masks: Sequence[Path]) -> tuple[int, ...]:
    seen: set[int] = set()
    for file in masks:
        if header(file).mode.startswith("I"):
            return ()
        seen.update(int(value) for value in np.unique(read_index(file)))
    return (255,) if 255 in seen and 254 not in seen and seen - {0, 255} else ()


def of_masks(
    image: Path, masks: Sequence[tuple[str, Path]], how: Meaning, wanted: frozenset[str]
) -> Iterator[Annotation]:
    """Annotations of the masks of an image.

    Args:
        image: the image file.
        masks: class name and file of each mask.
        how: what their values mean.
        wanted: classes to read.

    Raises:
        DataError: a mask that cannot be read or whose aspect ratio differs from the image.
    """
    frame = header(image)
    for label, file in masks:
        if how.kind == "classes" and how.names is not None:
            yield from of_classes(read_index(file), frame, how.names, wanted, file, how.void)
        elif label not in wanted:
            count()
            leave_out(OTHER_CLASS, f"{file}: the class {label!r} is not requested.", quiet=True)
        elif how.kind == "instances":
            yield from of_instances(read_index(file), frame, label, file, void=how.void)
        else:
            count()
            mask = to_image_frame(read_mask(file), frame, file)
            yield from mask_annotation(label, ~mask if how.kind == "inverted" else mask, file)


__all__ = ["VALUES", "Meaning", "meaning", "of_masks"]
