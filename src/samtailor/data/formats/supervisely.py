"""Supervisely: meta.json and DATASET/img/ + DATASET/ann/IMAGE.json with bitmaps, polygons (holes), rectangles."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from samtailor.data.drawn import Shape, drawn, without_image
from samtailor.data.finder import ImageFinder
from samtailor.data.image import decode_mask, header
from samtailor.data.json_kinds import MAX_FILES, json_files, json_kind
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, folders_in, natural_key, read_json, subfolder
from samtailor.data.parts import part_named
from samtailor.data.placement import declared_size
from samtailor.errors import DataError
from samtailor.masks.rle import from_box
from samtailor.masks.shapes import from_ellipse, from_part, from_rings
from samtailor.structures import Annotation, Sample

_AREAS = ("bitmap", "alpha_mask", "polygon", "rectangle", "ellipse", "rectangular")
_MOST = 64 << 20  # bytes of a decompressed bitmap


def matches(path: Path) -> bool:
    """Whether there is meta.json with classes and an ann/ folder (in a folder of its own, or beside it)."""
    if json_kind(path / "meta.json") != "supervisely-meta" and not any(
        json_kind(file) == "supervisely" for _, folder, _ in _sets(path) for file in json_files(folder)[:MAX_FILES]
    ):
        return False
    return bool(_sets(path))


def build(path: Path, *, classes: Sequence[str] | None = None) -> Iterable[Sample]:
    """Samples of a Supervisely project. Points, lines, graphs and cuboids are left out and counted.

    Args:
        path: folder of the project, or of one of its data sets.
        classes: class titles to read; None for all.

    Raises:
        DataError: no annotation folder, an invalid file, or none of the images exists. Reading an invalid figure, or a
            size that does not fit the image, raises it too.
        InputError: an unknown class.
    """
    sets = _sets(path)
    sheets = [(name, images, file) for name, ann, images in sets for file in json_files(ann)]
    if not sheets:
        raise DataError(f"{path} has no annotation files of Supervisely in DATASET/ann/.")
    contents = {file: _content(file) for _, _, file in sheets}
    titles = {title for content in contents.values() for title in content["titles"]}
    meta = path / "meta.json"
    known = _classes(meta) if meta.is_file() else sorted(titles, key=natural_key)
    unknown = sorted(titles - set(known))
    if unknown:
        raise DataError(f"{meta} does not list the class {unknown[0]!r} of the annotations. Export the project again.")
    wanted = frozenset(chosen(classes, known))
    finders = {images: ImageFinder(images) for images in dict.fromkeys(images for _, images, _ in sheets)}
    samples: dict[Path, Sample] = {}
    missing: dict[Path, list[str]] = {images: [] for images in finders}
    for name, images, file in sheets:
        listed = file.name.removesuffix(".json")  # NAME.jpg.json
        image = finders[images].find(listed, file, stem=True)
        if image is None:
            sentence = f"{file}: its image {listed!r} does not exist in {images} and is skipped."
            missing[images].append(without_image(len(contents[file]["objects"]), sentence))
            continue
        if image in samples:
            raise DataError(f"{file}: the image {listed!r} has two files.")
        stem = image.relative_to(images).with_suffix("").as_posix()
        id = f"{name}/{stem}" if len(sets) > 1 else stem
        samples[image] = file_sample(id, image, _annotations, file, wanted, part=part_named(name))
    if not samples:
        raise DataError(f"None of the images of {len(sheets)} annotation files exists (first file: {sheets[0][2]}).")
    for images, finder in finders.items():
        finder.account([image for image in samples if image.is_relative_to(images)], missing[images], "file in ann/")
    return list(samples.values())


def _sets(path: Path) -> list[tuple[str, Path, Path]]:
    """(name, annotation folder, image folder) of each data set of a project; nested data sets are in datasets/."""
    if not path.is_dir():
        return []
    result = []
    for folder in [path, *folders_in(path)]:
        ann, images = subfolder(folder, "ann"), subfolder(folder, "img")
        if ann and images:
            result.append(("" if folder == path else folder.name, ann, images))
        nested = subfolder(folder, "datasets") if folder != path else None
        for name, inner, inside in _sets(nested) if nested else ():
            result.append((f"{folder.name}/{name}" if name else folder.name, inner, inside))
    return result


def _classes(meta: Path) -> list[str]:
    content = read_json(meta)
    try:
        return [str(entry["title"]) for entry in content["classes"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{meta}: expected a list of classes, each with a title ({error!r}).") from error


def _content(file: Path) -> dict[str, Any]:
    content = read_json(file)
    objects = content.get("objects") if isinstance(content, dict) else None
    size = content.get("size") if isinstance(content, dict) else None
    if not isinstance(objects, list) or not isinstance(size, dict) or not all(isinstance(o, dict) for o in objects):
        raise DataError(f'{file}: an annotation of Supervisely must have "size" and a list "objects".')
    titles = [str(o["classTitle"]) for o in objects if o.get("classTitle") and o.get("geometryType") in _AREAS]
    return {"size": size, "objects": objects, "titles": titles}


def _annotations(image: Path, file: Path, wanted: frozenset[str]) -> Iterator[Annotation]:
    frame, content = header(image), _content(file)
    size = declared_size(content["size"].get("height"), content["size"].get("width"), frame, file)
    shapes = (_shape(row, i) for i, row in enumerate(content["objects"]))
    yield from drawn(shapes, wanted, size, frame, file)


def _shape(row: Mapping[str, Any], number: int) -> Shape:
    kind = str(row.get("geometryType"))
    draw = partial(_draw, kind, row) if kind in _AREAS else None
    return Shape(str(row.get("classTitle") or ""), kind, draw, f"object {number}")


def _draw(kind: str, row: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    if kind in ("bitmap", "alpha_mask"):
        return _bitmap(row["bitmap"], size)
    if kind == "ellipse":
        middle = row["points"]["exterior"][0] if "points" in row else row["center"]
        return from_ellipse(middle, (row["radiusX"], row["radiusY"]), size)
    rings = [row["points"]["exterior"], *row["points"].get("interior", [])]
    if kind == "polygon":
        return from_rings(rings, size, kind)
    (x0, y0), (x1, y1) = ((float(x), float(y)) for x, y in rings[0])
    return from_box((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), size)


def _bitmap(bitmap: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    """A PNG, compressed with zlib, as base64; its top-left pixel is at `origin`."""
    packed = base64.b64decode(bitmap["data"], validate=True)
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(packed, _MOST)
    if unpacker.unconsumed_tail:
        raise DataError(f"a bitmap of more than {_MOST} bytes.")
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 24:
        width, height = struct.unpack(">II", data[16:24])
        if width > 2 * size[1] + 16 or height > 2 * size[0] + 16:
            raise DataError(f"a bitmap of {width}x{height} px in an image of {size[1]}x{size[0]} px.")
    left, top = (int(v) for v in bitmap["origin"])
    return from_part(decode_mask(data, "bitmap"), (left, top), size)


__all__ = ["build", "matches"]
