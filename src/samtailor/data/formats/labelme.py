"""labelme: a JSON file per image, beside it or in annotations/, with "shapes" (polygon, rectangle, circle, mask)."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.data.image import decode_mask, header
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, files, json_mentions, natural_key, read_json, subfolder
from samtailor.data.notices import notice
from samtailor.data.placement import declared_size, rle_to_image_frame
from samtailor.errors import DataError, counted
from samtailor.masks.rle import encode, from_box, from_polygons
from samtailor.structures import Annotation, Sample

_FOLDERS = ("annotations", "labels", "images", "json")


def matches(path: Path) -> bool:
    """Whether a JSON file with "shapes" is in the top folder, annotations/, labels/, images/ or json/."""
    return any(json_mentions(file, "shapes") for _, file in zip(range(3), _sheets(path).values(), strict=False))


def build(path: Path, *, classes: Sequence[str] | None = None) -> Iterable[Sample]:
    """Samples of a labelme folder. Shapes of one label and `group_id` are one object; points and lines are skipped.

    Args:
        path: folder of the data set.
        classes: labels to read; None for all.

    Raises:
        DataError: no JSON file, an invalid file or shape, or no image exists.
        InputError: an unknown class.
    """
    sheets = {stem: (file, _content(file)) for stem, file in _sheets(path).items()}
    if not sheets:
        raise DataError(f"{path} has no labelme files, neither in the top folder nor in {'/, '.join(_FOLDERS)}/.")
    known = {shape["label"] for _, content in sheets.values() for shape in content["shapes"]}
    wanted = frozenset(chosen(classes, sorted(known, key=natural_key)))
    samples = []
    for stem, (file, content) in sorted(sheets.items(), key=lambda item: natural_key(item[0])):
        image = _image(path, file, content)
        if image is None:
            notice("annotation without image", f"{file}: its image {content['imagePath']!r} does not exist; skipped.")
            continue
        samples.append(file_sample(stem, image, _annotations, file, wanted))
    if not samples:
        raise DataError(f"None of the images of {counted(len(sheets), 'labelme file')} exists (first file: {file}).")
    return samples


def _sheets(path: Path) -> dict[str, Path]:
    folders = [folder for folder in (subfolder(path, name) for name in _FOLDERS) if folder]
    on_top = {f.stem: f for f in sorted(path.glob("*.json")) if f.name[0] != "." and json_mentions(f, "shapes")}
    candidates = (on_top, *(files(folder, [".json"]) for folder in folders))
    return next((sheets for sheets in candidates if sheets), {})


def _content(file: Path) -> dict[str, Any]:
    content = read_json(file)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    good = isinstance(shapes, list) and all(
        isinstance(s, dict) and isinstance(s.get("label"), str) and isinstance(s.get("points"), list) for s in shapes
    )
    if not good or not isinstance(content.get("imagePath"), str):
        raise DataError(f'{file}: a labelme file must have "imagePath" and "shapes", each with a label and points.')
    return {"imagePath": content["imagePath"].replace("\\", "/"), **{k: v for k, v in content.items() if k in _KEPT}}


_KEPT = ("shapes", "imageHeight", "imageWidth")


def _image(root: Path, file: Path, content: Mapping[str, Any]) -> Path | None:
    name = Path(content["imagePath"])
    places = [file.parent / name, file.parent / name.name, root / name.name]
    images = subfolder(root, "images")
    if images is not None:
        places += [images / name.name, images / file.parent.name / name.name]
    return next((place for place in places if place.is_file()), None)


def _annotations(image: Path, file: Path, wanted: frozenset[str]) -> Iterator[Annotation]:
    frame, content = header(image), _content(file)
    size = content.get("imageHeight") or frame.size[0], content.get("imageWidth") or frame.size[1]
    size = declared_size(size, frame, file)
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for position, shape in enumerate(content["shapes"]):
        if shape["label"] not in wanted:
            continue
        rle = _mask(shape, size, f"{file}, shape {position}")
        if rle is not None:
            alone = shape.get("group_id") is None
            groups.setdefault((shape["label"], position if alone else f"group {shape['group_id']}"), []).append(rle)
    from pycocotools import mask as coco

    for (label, _), parts in groups.items():
        yield Annotation(label, rle_to_image_frame(coco.merge(parts), frame, file))


def _mask(shape: Mapping[str, Any], size: tuple[int, int], name: str) -> dict[str, Any] | None:
    kind = shape.get("shape_type") or "polygon"
    draw = {"polygon": _polygon, "rectangle": _rectangle, "circle": _circle, "mask": _bitmap}.get(kind)
    if draw is None:
        notice("shape without area", f"{name}: a {kind} has no area and is skipped.")
        return None
    try:
        points = np.asarray(shape["points"], float)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise ValueError(f"points of shape {points.shape}")
        rle = draw(points, shape, size, name)
    except (KeyError, TypeError, ValueError, IndexError, binascii.Error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name}: not a valid {kind} of labelme ({error}).") from error
    if rle is None:
        notice("empty mask", f"{name}: the {kind} has no area in the image and is skipped.")
    return rle


def _polygon(points: np.ndarray, shape: Mapping[str, Any], size: tuple[int, int], name: str) -> dict[str, Any] | None:
    return from_polygons([points.ravel().tolist()], size)


def _rectangle(points: np.ndarray, shape: Mapping[str, Any], size: tuple[int, int], name: str) -> dict[str, Any] | None:
    return from_box((*points.min(axis=0), *points.max(axis=0)), size)


def _circle(points: np.ndarray, shape: Mapping[str, Any], size: tuple[int, int], name: str) -> dict[str, Any] | None:
    (x, y), radius = points[0], math.dist(points[0], points[1])
    rows, columns = np.arange(size[0])[:, None] + 0.5, np.arange(size[1])[None] + 0.5
    inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return encode(inside) if inside.any() else None


def _bitmap(points: np.ndarray, shape: Mapping[str, Any], size: tuple[int, int], name: str) -> dict[str, Any] | None:
    """A "mask" of labelme: a base64 PNG whose top-left pixel is at the first point."""
    part = decode_mask(base64.b64decode(shape["mask"], validate=True), name)
    left, top = (round(v) for v in points[0])
    whole = np.zeros(size, bool)
    y0, x0 = max(top, 0), max(left, 0)
    cut = part[y0 - top : size[0] - top, x0 - left : size[1] - left]
    whole[y0 : y0 + cut.shape[0], x0 : x0 + cut.shape[1]] = cut
    return encode(whole) if whole.any() else None


__all__ = ["build", "matches"]
