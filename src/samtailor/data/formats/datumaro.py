"""Datumaro JSON: annotations/PART.json with categories and items (polygon, mask, box, ellipse); images/PART/."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from samtailor.data.drawn import Shape, drawn, without_image
from samtailor.data.finder import ImageFinder, image_id
from samtailor.data.image import header
from samtailor.data.json_kinds import of_kind
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, read_json
from samtailor.data.parts import part_named
from samtailor.data.placement import declared_size
from samtailor.errors import DataError
from samtailor.masks.rle import from_polygons, validated
from samtailor.masks.shapes import from_ellipse, from_rotated_box
from samtailor.structures import Annotation, Sample

_AREAS = ("polygon", "mask", "bbox", "ellipse", "rotated_bbox")


def matches(path: Path) -> bool:
    """Whether a JSON file of Datumaro (items, categories) is in annotations/ or the top folder."""
    return bool(of_kind(path, "datumaro", most=16))


def build(path: Path, *, classes: Sequence[str] | None = None) -> Iterable[Sample]:
    """Samples of a data set in Datumaro's format. Shapes of one label and `group` above 0 are one object.

    Points, polylines, labels, captions and other annotations without area are left out and counted.

    Args:
        path: folder of the data set.
        classes: label names to read; None for all.

    Raises:
        DataError: no file, an invalid file, an item listed twice, or none of the images exists. Reading an invalid
            annotation raises it too.
        InputError: an unknown class.
    """
    sheets = {file: _content(file) for file in of_kind(path, "datumaro")}
    if not sheets:
        raise DataError(f"{path} has no JSON file of Datumaro, neither in annotations/ nor in the top folder.")
    labels = {file: _labels(content, file) for file, content in sheets.items()}
    known = {name: None for names in labels.values() for name in names}
    wanted = frozenset(chosen(classes, known))
    finder, samples, missing = ImageFinder(path), {}, []
    for file, content in sheets.items():
        for number, item in enumerate(content["items"]):
            if not isinstance(item, dict) or not isinstance(item.get("annotations", []), list):
                raise DataError(f"{file}, item {number}: expected an object with id and annotations.")
            media = item.get("image") or item.get("media") or {}
            media = media if isinstance(media, dict) else {}
            name = str(media.get("path") or item.get("id") or "")
            image = finder.find(name, file, within=file.stem, stem=True)
            rows = tuple(item.get("annotations", []))
            if image is None:
                sentence = f"{file}: the image {name!r} ({len(rows)} annotations) does not exist and is skipped."
                missing.append(without_image(len(rows), sentence))
                continue
            if image in samples:
                raise DataError(f"{file}: the image {name!r} is listed twice.")
            size = media.get("size")
            size = tuple(size) if isinstance(size, list) and len(size) == 2 else (None, None)
            place = f"{file}, item {item.get('id')!r}"
            samples[image] = file_sample(
                image_id(path, image), image, _annotations, rows, size, tuple(labels[file]), wanted, place,
                part=part_named(file.stem),
            )  # fmt: skip
    if not samples:
        raise DataError(f"None of the images of {next(iter(sheets))} exists. Expected them in {path / 'images'}.")
    finder.account(samples, missing, "item")
    return list(samples.values())


def _content(file: Path) -> dict[str, Any]:
    content = read_json(file)
    if not isinstance(content, dict) or not isinstance(content.get("items"), list):
        raise DataError(f'{file}: a file of Datumaro must have "categories" and a list "items".')
    return content


def _labels(content: Mapping[str, Any], file: Path) -> list[str]:
    try:
        return [str(entry["name"]) for entry in content["categories"].get("label", {}).get("labels", [])]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: categories must list labels, each with a name ({error!r}).") from error


def _annotations(
    image: Path,
    rows: Sequence[Any],
    size: tuple[Any, Any],
    labels: Sequence[str],
    wanted: frozenset[str],
    place: str,
) -> Iterator[Annotation]:
    frame = header(image)
    given = declared_size(*size, frame, place)
    yield from drawn((_shape(row, labels, place, i) for i, row in enumerate(rows)), wanted, given, frame, place)


def _shape(row: Any, labels: Sequence[str], place: str, number: int) -> Shape:
    if not isinstance(row, dict):
        raise DataError(f"{place}, annotation {number}: expected an object.")
    kind, label = str(row.get("type")), row.get("label_id")
    if label is not None and not (isinstance(label, int) and 0 <= label < len(labels)):
        raise DataError(f"{place}, annotation {number}: there is no label with the number {label!r}.")
    draw = partial(_draw, kind, row) if kind in _AREAS else None
    name = "" if label is None else labels[label]
    group = row.get("group")
    return Shape(name, kind, draw, f"annotation {number}", str(group) if group else None)


def _draw(kind: str, row: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    if kind == "polygon":
        return from_polygons([[float(v) for v in row["points"]]], size)
    if kind == "bbox":
        x, y, w, h = (float(v) for v in row["bbox"])
        return from_rotated_box((x, y, x + w, y + h), size, float(row.get("rotation") or _rotation(row)))
    if kind == "rotated_bbox":
        x, y, w, h, degrees = (float(v) for v in row["bbox"])  # its center, size and rotation
        return from_rotated_box((x - w / 2, y - h / 2, x + w / 2, y + h / 2), size, degrees)
    if kind == "ellipse":
        x0, y0, x1, y1 = (float(v) for v in row["points"])
        middle, radii = ((x0 + x1) / 2, (y0 + y1) / 2), (abs(x1 - x0) / 2, abs(y1 - y0) / 2)
        return from_ellipse(middle, radii, size, _rotation(row))
    rle = row["rle"]
    if list(rle["size"]) != list(size):
        raise DataError(f"run lengths for {rle['size']} (height, width), but the image has size {size}.")
    return validated({"size": rle["size"], "counts": rle["counts"]}, "run lengths")


def _rotation(row: Mapping[str, Any]) -> float:
    """Degrees, which CVAT writes as an attribute."""
    attributes = row.get("attributes")
    return float(attributes.get("rotation") or 0) if isinstance(attributes, dict) else 0.0


__all__ = ["build", "matches"]
