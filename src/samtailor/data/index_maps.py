"""Annotations from index maps of classes and of instances, counted; shared by the layouts that store maps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np

from samtailor.data.account import OTHER_CLASS, count, leave_out
from samtailor.data.image import Header, read_colors, read_index
from samtailor.data.placement import to_image_frame
from samtailor.errors import DataError
from samtailor.masks.rle import from_index_map
from samtailor.structures import Annotation


def values_in(file: Path) -> int:
    """Number of different values above 0 of an index map; 1 if the file cannot be read."""
    try:
        values = np.unique(read_index(file))
    except DataError:
        return 1
    return int((values > 0).sum())


def colors_in(file: Path, without: Collection[int] = ()) -> int:
    """Number of different colors but black and `without` of a color map; 1 if the file cannot be read."""
    try:
        return len(set(np.unique(read_colors(file)).tolist()) - {0, *without})
    except DataError:
        return 1


def of_classes(
    index: np.ndarray,
    frame: Header,
    names: Mapping[int, str],
    wanted: Collection[str],
    file: Path,
    empty: Collection[int] = (),
) -> Iterator[Annotation]:
    """One annotation for each class above 0 of an index map (height, width); values of `empty` mean no class.

    Raises:
        DataError: a value without a name, or a map that does not fit the image.
    """
    for value, rle in from_index_map(to_image_frame(index, frame, file)):
        count()
        if value in empty:
            leave_out("index without class", f"{file}: the value {value} means no class.", quiet=True)
            continue
        if value not in names:
            raise DataError(f"{file}: the value {value} has no class name. Named: {_some(names)}.")
        if names[value] in wanted:
            yield Annotation(names[value], rle)
        else:
            leave_out(OTHER_CLASS, f"{file}: the class {names[value]!r} is not requested.", quiet=True)


def of_instances(
    index: np.ndarray, frame: Header, label: str, file: Path, *, void: Collection[int] = ()
) -> Iterator[Annotation]:
    """One annotation of a class for each value above 0 of an instance map (height, width); `void` values are left out.

    Raises:
        DataError: a map that does not fit the image.
    """
    for value, rle in from_index_map(to_image_frame(index, frame, file)):
        count()
        if value in void:
            leave_out("void region", f"{file}: the value {value} marks a region to be ignored.", quiet=True)
        else:
            yield Annotation(label, rle)


def of_objects(
    classes: np.ndarray, objects: np.ndarray, names: Mapping[int, str], wanted: Collection[str], file: Path
) -> Iterator[Annotation]:
    """One annotation for each value of `objects` above 0, of the class with most of its pixels in `classes`.

    Pixels of a class that belong to no object, and objects without a class, are left out.

    Args:
        classes, objects: index maps of one size, in the image frame.
        names: class names by value of `classes`.
        wanted: classes to read.
        file: the map of the objects, for messages.
    """
    for value, rle in from_index_map(objects):
        count()
        counts = np.bincount(classes[objects == value])
        counts[0] = 0
        label = names.get(int(counts.argmax())) if counts.any() else None
        if label is None:
            leave_out("object without class", f"{file}: the object {value} lies on no class and is skipped.")
        elif label in wanted:
            yield Annotation(label, rle)
        else:
            leave_out(OTHER_CLASS, f"{file}: the class {label!r} is not requested.", quiet=True)
    loose = np.unique(classes[(objects == 0) & (classes > 0)])
    for value in loose[~np.isin(loose, classes[objects > 0])]:
        count()
        label = names.get(int(value), str(value))
        leave_out("class without object", f"{file}: no object covers the class {label!r} of the class map; skipped.")


def _some(names: Mapping[int, str]) -> str:
    rows = [f"{value} {name}" for value, name in list(names.items())[:8]]
    return ", ".join(rows) + (", ..." if len(names) > 8 else "") if rows else "none"


__all__ = ["colors_in", "of_classes", "of_instances", "of_objects", "values_in"]
