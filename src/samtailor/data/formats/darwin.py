"""V7 Darwin JSON 2.0 and 1.0: a file for each image, in annotations/ or beside it (polygon, ellipse, mask layer)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from samtailor.data.drawn import Shape, drawn, without_image
from samtailor.data.finder import ImageFinder, image_id
from samtailor.data.image import header
from samtailor.data.json_kinds import MAX_FILES, json_files, json_kind, of_kind
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, folders_in, natural_key, read_json
from samtailor.data.placement import declared_size
from samtailor.errors import DataError
from samtailor.masks.rle import from_box
from samtailor.masks.shapes import from_ellipse, from_rings, from_value_runs
from samtailor.structures import Annotation, Sample

_AREAS = ("polygon", "complex_polygon", "ellipse", "mask", "bounding_box")  # a polygon comes with its bounding box
_LAYER = "raster_layer"


def matches(path: Path) -> bool:
    """Whether there is a Darwin JSON file in annotations/, in the top folder or in releases/NAME/annotations/."""
    return bool(_sheets(path, MAX_FILES))


def build(path: Path, *, classes: Sequence[str] | None = None) -> Iterable[Sample]:
    """Samples of an export of V7 Darwin. Paths of a polygon are filled by the even-odd rule (holes).

    Lines, key points, skeletons, tags and other annotations without area are left out and counted.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.

    Raises:
        DataError: no file, an invalid file, a video, or none of the images exists. Reading an invalid annotation
            raises it too.
        InputError: an unknown class.
    """
    sheets = {file: _content(file) for file in _sheets(path, None)}
    if not sheets:
        raise DataError(f"{path} has no Darwin JSON file, neither in annotations/ nor in the top folder.")
    known = {_label(row) for content in sheets.values() for row in content["annotations"] if _kind(row) in _AREAS}
    wanted = frozenset(chosen(classes, sorted(known - {""}, key=natural_key)))
    finder, samples, missing = ImageFinder(path), {}, []
    for file, content in sheets.items():
        name = _image_name(content, file)
        image = finder.find(name, file, stem=True)
        if image is None:
            rows = sum(_LAYER not in row for row in content["annotations"])
            sentence = f"{file}: its image {name!r} ({rows} annotations) does not exist and is skipped."
            missing.append(without_image(rows, sentence))
        elif image in samples:
            raise DataError(f"{file}: the image {name!r} has two files.")
        else:
            samples[image] = file_sample(image_id(path, image), image, _annotations, file, wanted)
    if not samples:
        raise DataError(f"None of the images of {len(sheets)} Darwin files exists (first file: {next(iter(sheets))}).")
    finder.account(samples, missing, "Darwin file")
    return list(samples.values())


def _sheets(path: Path, most: int | None) -> list[Path]:
    files = of_kind(path, "darwin", most=most)
    if files or not (path / "releases").is_dir():
        return files
    releases = folders_in(path / "releases")
    newest = releases[-1:] if not (path / "releases" / "latest").is_dir() else [path / "releases" / "latest"]
    return [f for r in newest for f in json_files(r / "annotations")[:most] if json_kind(f) == "darwin"]


def _content(file: Path) -> dict[str, Any]:
    content = read_json(file)
    rows = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f'{file}: a Darwin file must have an object "item" (or "image") and a list "annotations".')
    item = content.get("item", content.get("image"))
    if not isinstance(item, dict):
        raise DataError(f'{file}: a Darwin file must have an object "item" (or "image").')
    if any("frames" in row for row in rows):
        raise DataError(f"{file}: annotations of a video. Export its frames as images.")
    return {"item": item, "annotations": rows}


def _image_name(content: Mapping[str, Any], file: Path) -> str:
    item = content["item"]
    folder, name = str(item.get("path") or ""), item.get("name") or item.get("filename") or file.stem
    return f"{folder.strip('/')}/{name}".lstrip("/")


def _label(row: Mapping[str, Any]) -> str:
    return str(row.get("name") or "")


def _kind(row: Mapping[str, Any]) -> str:
    """The key that says what an annotation is: of those with area the first, else any that holds a value."""
    known = next((key for key in _AREAS if key in row), None)
    return known or next((key for key, value in row.items() if isinstance(value, dict)), "annotation")


def _size(item: Mapping[str, Any]) -> tuple[Any, Any]:
    """(height, width) of the first slot of version 2, or of the image of version 1."""
    slots = item.get("slots")
    place = slots[0] if isinstance(slots, list) and slots and isinstance(slots[0], dict) else item
    return place.get("height"), place.get("width")


def _annotations(image: Path, file: Path, wanted: frozenset[str]) -> Iterator[Annotation]:
    frame, content = header(image), _content(file)
    size = declared_size(*_size(content["item"]), frame, file)
    layers = _Layers(content["annotations"], str(file))
    rows = [(i, row) for i, row in enumerate(content["annotations"]) if _LAYER not in row]
    shapes = [Shape(_label(row), _kind(row), _drawer(row, layers), f"annotation {i}") for i, row in rows]
    yield from drawn([*shapes, *layers.unnamed(size)], wanted, size, frame, file)


class _Layers:
    """The mask layers of a file, decoded once: an index map and the index of each mask annotation."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], name: str) -> None:
        self.layers = [row[_LAYER] for row in rows if _LAYER in row]
        self.ids = {str(row.get("id")) for row in rows if "mask" in row}
        self.name = name
        self.masks: list[dict[int, dict[str, Any]]] | None = None

    def decoded(self, size: tuple[int, int]) -> list[dict[int, dict[str, Any]]]:
        if self.masks is None:
            self.masks = [
                from_value_runs(layer["dense_rle"], size, f"{self.name}, mask layer") for layer in self.layers
            ]
        return self.masks

    def draw(self, id: str, size: tuple[int, int]) -> dict[str, Any] | None:
        for layer, masks in zip(self.layers, self.decoded(size), strict=True):
            index = layer["mask_annotation_ids_mapping"].get(id)
            if index is not None:
                return masks.get(int(index))
        return None

    def unnamed(self, size: tuple[int, int]) -> Iterator[Shape]:
        """Values of the layers that belong to no annotation: shapes without class."""
        for layer in self.layers:
            mapping = layer.get("mask_annotation_ids_mapping") if isinstance(layer, dict) else None
            if not isinstance(mapping, dict) or "dense_rle" not in layer:
                raise DataError(f"{self.name}: a mask layer needs dense_rle and mask_annotation_ids_mapping.")
            for id in mapping:
                if id not in self.ids:
                    yield Shape("", "mask", partial(self.draw, id), f"mask {id} of the layer")


def _drawer(row: Mapping[str, Any], layers: _Layers) -> Any:
    kind = _kind(row)
    if kind not in _AREAS:
        return None
    return partial(layers.draw, str(row.get("id"))) if kind == "mask" else partial(_draw, kind, row[kind])


def _draw(kind: str, value: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    if kind == "bounding_box":
        x, y, w, h = (float(value[key]) for key in ("x", "y", "w", "h"))
        return from_box((x, y, x + w, y + h), size)
    if kind == "ellipse":
        middle, radius = ((float(value[key]["x"]), float(value[key]["y"])) for key in ("center", "radius"))
        return from_ellipse(middle, radius, size, math.degrees(float(value.get("angle") or 0)))  # radians, as in canvas
    paths = value.get("paths") or [value["path"], *value.get("additional_paths", ())]
    if paths and paths[0] and isinstance(paths[0][0], list):  # version 1: a list of paths under "path"
        paths = [ring for group in paths for ring in group]
    return from_rings([[(point["x"], point["y"]) for point in path] for path in paths], size, kind)


__all__ = ["build", "matches"]
