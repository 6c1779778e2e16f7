"""VGG Image Annotator (VIA 1 to 3): a JSON project or annotation file, or a CSV file, with regions for each image."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from samtailor.data.drawn import Shape, drawn, without_image
from samtailor.data.finder import ImageFinder, image_id
from samtailor.data.image import header
from samtailor.data.json_kinds import of_kind
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, folders_in, natural_key, read_json, read_text
from samtailor.data.notices import notice
from samtailor.errors import DataError, InputError
from samtailor.masks.rle import from_box, from_polygons
from samtailor.masks.shapes import from_ellipse
from samtailor.structures import Annotation, Sample

_AREAS = ("polygon", "rect", "circle", "ellipse")
_COLUMNS = {"region_shape_attributes", "region_attributes"}
_USUAL = ("class", "label", "name", "type", "category", "object")
_SINGLE = "object"


def matches(path: Path) -> bool:
    """Whether there is a VIA file: JSON in the top folder, annotations/ and the like, or a CSV file."""
    return bool(_sheets(path, 16))


def build(path: Path, *, classes: Sequence[str] | None = None, attribute: str | None = None) -> Iterable[Sample]:
    """Samples of VIA files. Points and polylines are left out and counted. Images without a region are kept.

    Args:
        path: folder of the data set.
        classes: values of the attribute to read; None for all.
        attribute: region attribute that holds the class. None takes the only one, or one called class, label, name,
            type, category or object. Without attributes there is one class, "object".

    Raises:
        DataError: no file, an invalid file, several attributes that could be the class, or none of the images exists.
            Reading an invalid region raises it too.
        InputError: an unknown class or attribute.
    """
    sheets = {file: _entries(file) for file in _sheets(path, None)}
    if not sheets:
        raise DataError(f"{path} has no file of VIA.")
    rows = [region for entries in sheets.values() for _, regions in entries for region in regions]
    key = _attribute(rows, attribute, path)
    if key is None:
        notice("no class names", f"{path}: the regions have no attributes; all are of the class {_SINGLE!r}.")
    known = {_label(region, key) for region in rows if _kind(region) in _AREAS} - {""}
    wanted = frozenset(chosen(classes, sorted(known, key=natural_key)))
    finder, samples, missing = ImageFinder(path), {}, []
    for file, entries in sheets.items():
        for name, regions in entries:
            image = finder.find(name, file, within=file.parent.name)
            if image is None:
                sentence = f"{file}: the image {name!r} ({len(regions)} regions) does not exist and is skipped."
                missing.append(without_image(len(regions), sentence))
            elif image in samples:
                raise DataError(f"{file}: the image {name!r} is listed twice.")
            else:
                place = f"{file}, {name!r}"
                samples[image] = file_sample(
                    image_id(path, image), image, _annotations, tuple(regions), key, wanted, place
                )
    if not samples:
        raise DataError(f"None of the images of {next(iter(sheets))} exists below {path}.")
    finder.account(samples, missing, "entry in the VIA file")
    return list(samples.values())


def _sheets(path: Path, most: int | None) -> list[Path]:
    """Annotation files; one in each part (train/via_region_data.json) if there is none above."""
    if not path.is_dir():
        return []
    files = of_kind(path, "via", most=most) or [f for f in sorted(path.glob("*.csv"))[:most] if _is_csv(f)]
    if files:
        return files
    folders = folders_in(path)[:16]
    return [f for folder in folders for f in (*of_kind(folder, "via", most=most), *_csvs(folder, most))]


def _csvs(folder: Path, most: int | None) -> list[Path]:
    return [f for f in sorted(folder.glob("*.csv"))[:most] if _is_csv(f)]


def _is_csv(file: Path) -> bool:
    with file.open("rb") as stream:
        first = stream.read(4096).partition(b"\n")[0].decode("utf-8", "replace")
    return file.name[0] != "." and all(column in first for column in _COLUMNS)


def _entries(file: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """(image name, regions) of each image."""
    try:
        return _from_csv(file) if file.suffix.lower() == ".csv" else _from_json(file)
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError, csv.Error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file}: not a valid file of VIA ({error!r}).") from error


def _from_json(file: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    content = read_json(file)
    if isinstance(content.get("metadata"), dict) and isinstance(content.get("file"), dict):
        return _from_three(content)
    entries = []
    for entry in content.get("_via_img_metadata", content).values():
        regions = entry.get("regions") or []
        rows = list(regions.values()) if isinstance(regions, dict) else list(regions)  # a dict in VIA 1
        if not all(isinstance(row, dict) for row in rows):
            raise DataError(f"{file}: a region of {entry['filename']!r} is not an object.")
        entries.append((str(entry["filename"]), rows))
    return entries


def _from_three(content: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """VIA 3: files, views and regions apart; a region is [number of the shape, coordinates ...]."""
    attributes = content.get("attribute") or {}
    table: dict[str, list[dict[str, Any]]] = {str(id): [] for id in content["file"]}
    views = {str(id): str(view["fid_list"][0]) for id, view in (content.get("view") or {}).items()}
    for region in content["metadata"].values():
        values = region.get("xy") or []
        if not values:
            continue  # a segment of time
        named = {}
        for id, value in (region.get("av") or {}).items():
            attribute = attributes[id]
            named[str(attribute["aname"])] = (attribute.get("options") or {}).get(value, value)
        shape = _shape_three(values)
        table[views.get(str(region["vid"]), str(region["vid"]))].append(
            {"shape_attributes": shape, "region_attributes": named}
        )
    return [(str(content["file"][id]["fname"]), regions) for id, regions in table.items()]


def _shape_three(values: Sequence[float]) -> dict[str, Any]:
    number, *xy = values
    if number == 7:
        return {"name": "polygon", "all_points_x": xy[0::2], "all_points_y": xy[1::2]}
    name, keys = {
        2: ("rect", ("x", "y", "width", "height")),
        3: ("circle", ("cx", "cy", "r")),
        4: ("ellipse", ("cx", "cy", "rx", "ry")),
    }.get(int(number), ("point or line", ()))
    return {"name": name, **dict(zip(keys, xy, strict=True))} if keys else {"name": name}


def _from_csv(file: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    table: dict[str, list[dict[str, Any]]] = {}
    for row in csv.DictReader(read_text(file).splitlines()):
        name = row.get("filename") or row.get("#filename")
        if not name:
            raise DataError(f"{file}: a row has no filename.")
        regions = table.setdefault(name, [])
        shape = json.loads(row["region_shape_attributes"] or "{}")
        if shape:
            attributes = json.loads(row["region_attributes"] or "{}")
            regions.append({"shape_attributes": shape, "region_attributes": attributes})
    return list(table.items())


def _attribute(rows: Sequence[Mapping[str, Any]], given: str | None, path: Path) -> str | None:
    """The attribute that holds the class; None if no region has attributes."""
    counts = Counter(key for row in rows if isinstance(row.get("region_attributes"), dict)
                     for key in row["region_attributes"])  # fmt: skip
    if given is not None:
        if given not in counts:
            raise InputError(f"No region has the attribute {given!r}. Attributes: {', '.join(counts) or 'none'}.")
        return given
    usual = [key for key in counts if key.strip().lower() in _USUAL]
    choice = list(counts) if len(counts) == 1 else usual
    if counts and len(choice) != 1:
        raise DataError(f"{path}: the class could be any of the attributes {', '.join(counts)}. Choose: attribute=...")
    return choice[0] if counts else None


def _label(region: Mapping[str, Any], key: str | None) -> str:
    """The class of a region: a text, or the ticked option of a check box."""
    if key is None:
        return _SINGLE
    attributes = region.get("region_attributes")
    value = attributes.get(key) if isinstance(attributes, dict) else None
    if isinstance(value, dict):
        ticked = [str(name) for name, on in value.items() if on]
        return ticked[0] if len(ticked) == 1 else ""
    return str(value).strip() if isinstance(value, str | int | float) else ""


def _kind(region: Mapping[str, Any]) -> str:
    shape = region.get("shape_attributes")
    return str(shape.get("name")) if isinstance(shape, dict) else "region without shape"


def _annotations(
    image: Path, regions: Sequence[Mapping[str, Any]], key: str | None, wanted: frozenset[str], place: str
) -> Iterator[Annotation]:
    frame = header(image)
    shapes = []
    for number, region in enumerate(regions):
        kind = _kind(region)
        draw = partial(_draw, kind, region["shape_attributes"]) if kind in _AREAS else None
        shapes.append(Shape(_label(region, key), kind, draw, f"region {number}"))
    yield from drawn(shapes, wanted, frame.size, frame, place)


def _draw(kind: str, shape: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    if kind == "polygon":
        xs, ys = shape["all_points_x"], shape["all_points_y"]
        return from_polygons([[float(v) for point in zip(xs, ys, strict=True) for v in point]], size)
    if kind == "rect":
        x, y, w, h = (float(shape[name]) for name in ("x", "y", "width", "height"))
        return from_box((x, y, x + w, y + h), size)
    middle = (float(shape["cx"]), float(shape["cy"]))
    if kind == "circle":
        return from_ellipse(middle, (float(shape["r"]), float(shape["r"])), size)
    degrees = math.degrees(float(shape.get("theta") or 0))  # radians
    return from_ellipse(middle, (float(shape["rx"]), float(shape["ry"])), size, degrees)


__all__ = ["build", "matches"]
