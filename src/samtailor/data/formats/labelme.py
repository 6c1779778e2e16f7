"""labelme: a JSON file per image, beside it or in annotations/, with "shapes" (polygon, rectangle, circle, mask)."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.account import count, leave_out
from samtailor.data.drawn import Draw, Shape, drawn
from samtailor.data.finder import ImageFinder
from samtailor.data.image import decode_header, decode_mask, header
from samtailor.data.json_kinds import FOLDERS, MAX_FILES, json_files, json_kind
from samtailor.data.layout import embedded_sample, file_sample
from samtailor.data.listing import chosen, files, natural_key, plain, read_json, subfolder
from samtailor.data.placement import declared_size
from samtailor.errors import DataError, counted
from samtailor.masks.rle import encode, from_box, from_polygons
from samtailor.masks.shapes import from_part
from samtailor.structures import Annotation, Sample

_NO_CLASS = frozenset({"__ignore__", "_background_"})
_WITHOUT_AREA = frozenset({"point", "points", "line", "linestrip", "lines"})


def matches(path: Path) -> bool:
    """Whether a JSON file with "shapes" is in the top folder, annotations/, labels/, images/ or json/."""
    folders = [path, *(folder for folder in (subfolder(path, name) for name in FOLDERS) if folder)]
    if any(json_kind(file) == "labelme" for folder in folders for file in json_files(folder)[:MAX_FILES]):
        return True
    nested = (files(folder, [".json"]).values() for folder in folders[1:])
    return any(json_kind(file) == "labelme" for sheets in nested for file in list(sheets)[:MAX_FILES])


def build(path: Path, *, classes: Sequence[str] | None = None) -> Iterable[Sample]:
    """Samples of a labelme folder. Shapes of one label and `group_id` are one object.

    Points and lines, and the labels __ignore__ and _background_, are left out. The image is the file that "imagePath"
    names, or "imageData" if there is no such file.

    Args:
        path: folder of the data set.
        classes: labels to read; None for all.

    Raises:
        DataError: no JSON file, an invalid file or shape, or no image exists.
        InputError: an unknown class.
    """
    sheets = {stem: (file, _content(file)) for stem, file in _sheets(path).items()}
    if not sheets:
        raise DataError(f"{path} has no labelme files, neither in the top folder nor in {'/, '.join(FOLDERS)}/.")
    known = {shape["label"] for _, content in sheets.values() for shape in content["shapes"]} - _NO_CLASS
    wanted = frozenset(chosen(classes, sorted(known, key=natural_key)))
    finder = ImageFinder(path)
    samples, missing = [], []
    for stem, (file, content) in sorted(sheets.items(), key=lambda item: natural_key(item[0])):
        image = _image(path, file, content["imagePath"], finder)
        if image is not None:
            samples.append(file_sample(stem, image, _annotations, file, wanted))
        elif content["imageData"]:
            samples.append(embedded_sample(stem, partial(_embedded, file), _annotations, None, file, wanted))
        else:
            missing.append(f"{file}: its image {content['imagePath']!r} does not exist, and is not embedded; skipped.")
            count(len(content["shapes"]))
            leave_out("annotation without image", missing[-1], len(content["shapes"]))
    if not samples:
        raise DataError(f"None of the images of {counted(len(sheets), 'labelme file')} exists (first file: {file}).")
    finder.account([s.source for s in samples if s.source], missing, "labelme file", sum(not s.source for s in samples))
    return samples


def _sheets(path: Path) -> dict[str, Path]:
    """labelme files by stem: those in the top folder, else those of the first usual folder that has one."""
    folders = [folder for folder in (subfolder(path, name) for name in FOLDERS) if folder]
    for candidates in ({plain(f.stem): f for f in json_files(path)}, *(files(f, [".json"]) for f in folders)):
        sheets = {stem: file for stem, file in candidates.items() if json_kind(file) == "labelme"}
        if sheets:
            for stem in candidates.keys() - sheets.keys():
                count()
                leave_out("not a labelme file", f'{candidates[stem]} has no "shapes" and is skipped.')
            return sheets
    return {}


def _content(file: Path) -> dict[str, Any]:
    content = read_json(file)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    good = isinstance(shapes, list) and all(
        isinstance(s, dict) and isinstance(s.get("label"), str) and isinstance(s.get("points"), list) for s in shapes
    )
    if not good or not isinstance(content.get("imagePath"), str):
        raise DataError(f'{file}: a labelme file must have "imagePath" and "shapes", each with a label and points.')
    return {
        "shapes": shapes,
        "imagePath": plain(content["imagePath"]),
        "imageData": isinstance(content.get("imageData"), str) and bool(content["imageData"]),
        "size": (content.get("imageHeight") or None, content.get("imageWidth") or None),
    }


def _image(root: Path, file: Path, name: str, finder: ImageFinder) -> Path | None:
    """The image file that a JSON file names, beside it or below the folder of the data set."""
    beside = Path(os.path.normpath(file.parent / name))
    if beside.is_relative_to(root) and beside.is_file():
        return beside
    return finder.find(name, file, within=file.parent.name)


def _embedded(file: Path) -> bytes:
    """Bytes of the image that a labelme file contains."""
    content = read_json(file)
    try:
        return base64.b64decode(content["imageData"], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: imageData is not an image in base64 ({error}).") from error


def _annotations(image: Path | None, file: Path, wanted: frozenset[str]) -> Iterator[Annotation]:
    frame = header(image) if image is not None else decode_header(_embedded(file), str(file))
    content = _content(file)
    height, width = content["size"]
    size = declared_size(height or frame.size[0], width or frame.size[1], frame, file)
    yield from drawn(_shapes(content["shapes"], file), wanted, size, frame, file)


def _shapes(shapes: Iterable[Mapping[str, Any]], file: Path) -> Iterator[Shape]:
    for position, shape in enumerate(shapes):
        kind, place = shape.get("shape_type") or "polygon", f"shape {position}"
        if shape["label"] in _NO_CLASS:
            count()
            leave_out("label without class", f"{file}, {place}: {shape['label']!r} marks a region of no class.")
            continue
        draw = _DRAW.get(kind)
        if draw is None and kind not in _WITHOUT_AREA:
            count()
            leave_out("unknown shape type", f"{file}, {place}: the shape type {kind!r} is unknown and is skipped.")
            continue
        group = shape.get("group_id")
        bound: Draw | None = None if draw is None else partial(draw, _points(shape, kind, f"{file}, {place}"), shape)
        yield Shape(shape["label"], kind, bound, place, None if group is None else str(group))


def _points(shape: Mapping[str, Any], kind: str, name: str) -> np.ndarray:
    try:
        points = np.asarray(shape["points"], float)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise ValueError(f"points of shape {points.shape}")
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: not a valid {kind} of labelme ({error}).") from error
    return points


def _polygon(points: np.ndarray, shape: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    return from_polygons([points.ravel().tolist()], size)


def _rectangle(points: np.ndarray, shape: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    return from_box((*points.min(axis=0), *points.max(axis=0)), size)


def _circle(points: np.ndarray, shape: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    (x, y), radius = points[0], math.dist(points[0], points[1])
    rows, columns = np.arange(size[0])[:, None] + 0.5, np.arange(size[1])[None] + 0.5
    inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return encode(inside) if inside.any() else None


def _bitmap(points: np.ndarray, shape: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    """A "mask" of labelme: a base64 PNG whose top-left pixel is at the first point."""
    part = decode_mask(base64.b64decode(shape["mask"], validate=True), "the mask")
    left, top = (round(float(np.clip(v, -1e6, 1e6))) for v in points[0])
    return from_part(part, (left, top), size)


_DRAW = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "circle": _circle,
    "mask": _bitmap,
    "rotation": _polygon,  # X-AnyLabeling: the four corners of a rotated box
    "oriented_rectangle": _polygon,
    "quadrilateral": _polygon,
}

__all__ = ["build", "matches"]
