"""COCO: a JSON in annotations/ or on top, with images, categories, annotations (polygons, RLE, boxes, crowd)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from samtailor.data.image import SUFFIXES, header
from samtailor.data.layout import file_sample, shape_annotation
from samtailor.data.listing import chosen, json_mentions, read_json, subfolder
from samtailor.data.notices import notice
from samtailor.errors import DataError, InputError
from samtailor.masks.rle import from_box, from_polygons, validated
from samtailor.structures import Annotation, Sample


def matches(path: Path) -> bool:
    """Whether a COCO JSON lies in annotations/, on top, or as <part>/_annotations.coco.json (Roboflow)."""
    return bool(_jsons(path))


def build(
    path: Path, *, classes: Sequence[str] | None = None, annotations: str | None = None, images: str | None = None
) -> Iterable[Sample]:
    """Samples of a COCO data set. Images without an annotation stay in, as COCO means them.

    Args:
        path: folder of the data set.
        classes: category names to read; None for all.
        annotations: JSON file relative to `path`; when left out, all instances*.json (or the only COCO JSON).
        images: folder of the images relative to `path`; found by itself when left out.

    Raises:
        DataError: no or several candidate files, a broken file, an image listed twice, no image on disk;
            reading an annotation whose run lengths do not fit.
        InputError: an unknown class.
    """
    sources = [path / annotations] if annotations is not None else _choice(path)
    contents = {source: _content(source) for source in sources}
    names = {name: None for content in contents.values() for name in _names(content).values()}
    wanted = frozenset(chosen(classes, names))
    find, samples = _Finder(path, images), {}
    for source, content in contents.items():
        for sample in _samples(source, content, find, wanted):
            if sample.id in samples:
                raise DataError(f"{source}: lists the image {sample.id!r} again. Choose one file: annotations=...")
            samples[sample.id] = sample
    if not samples:
        raise DataError(f"None of the images of {sources[0]} is on disk. First place looked at: {path / 'images'}.")
    return list(samples.values())


def _jsons(path: Path) -> list[Path]:
    places = [subfolder(path, "annotations"), path]
    found = [f for place in places if place for f in sorted(place.glob("*.json"))]
    found += sorted(path.glob("*/_annotations.coco.json"))
    return [f for f in found if f.name[0] != "." and json_mentions(f, "images", "annotations", "categories")]


def _choice(path: Path) -> list[Path]:
    found = _jsons(path)
    best = [f for f in found if f.name.startswith("instances") or f.name == "_annotations.coco.json"] or found
    if not best:
        raise DataError(f"{path} has no COCO JSON, neither in annotations/ nor on top.")
    if len(best) > 1 and best == found and not all(f.name[:1] in "i_" for f in best):
        raise DataError(f"Several COCO files: {', '.join(f.name for f in best)}. Choose one: annotations=...")
    return best


def _content(file: Path) -> dict[str, Any]:
    content = read_json(file)
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in keys):
        raise DataError(f"{file}: a COCO file is an object with the lists {', '.join(keys)}.")
    return content


def _names(content: Mapping[str, Any]) -> dict[int, str]:
    return {category["id"]: str(category["name"]) for category in content["categories"]}


class _Finder:
    """Where an image lies: the usual places first, then any place of that name if there is only one."""

    def __init__(self, root: Path, images: str | None) -> None:
        if images is not None and not (root / images).is_dir():
            raise InputError(f"There is no folder {images!r} in {root} for the images.")
        folder = root / images if images is not None else subfolder(root, "images")
        self.places = [folder] if images is not None else [p for p in (folder, root) if p]
        self.root, self.by_name = folder or root, None

    def __call__(self, name: str, source: Path) -> Path | None:
        part = source.stem.removeprefix("instances_")
        for place in (*self.places, *(p / part for p in self.places), source.parent):
            if (place / name).is_file():
                return place / name
        if self.by_name is None:
            self.by_name = defaultdict(list)
            for file in self.root.rglob("*"):
                if file.suffix.lower() in SUFFIXES:
                    self.by_name[file.name].append(file)
        found = self.by_name.get(PurePosixPath(name).name, [])
        if len(found) > 1:
            raise DataError(f"{source}: {name!r} could be {found[0]} or {found[1]}. Give the folder: images=...")
        return found[0] if found else None


def _samples(source: Path, content: Mapping[str, Any], find: _Finder, wanted: frozenset[str]) -> Iterator[Sample]:
    try:
        names, by_image = _names(content), defaultdict(list)
        for entry in content["annotations"]:
            if entry["category_id"] not in names:
                number, category = entry.get("id"), entry["category_id"]
                raise DataError(f"{source}: annotation {number} has the category {category}, which is not listed.")
            if names[entry["category_id"]] in wanted:
                by_image[entry["image_id"]].append((names[entry["category_id"]], entry))
        for image in content["images"]:
            name = str(image["file_name"]).replace("\\", "/")
            file = find(name, source)
            if file is None:
                notice("annotation without image", f"{source}: the image {name!r} is not on disk and is left out.")
                continue
            size = (int(image["height"]), int(image["width"])) if image.get("height") else header(file).size
            stem = PurePosixPath(name).with_suffix("").as_posix().lstrip("./")
            entries = tuple(by_image.get(image["id"], ()))
            yield file_sample(stem, file, _annotations, size, entries, source)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{source}: not as COCO defines it ({error!r}).") from error


def _annotations(
    image: Path, size: tuple[int, int], entries: Sequence[tuple[str, Mapping[str, Any]]], source: Path
) -> Iterator[Annotation]:
    frame = header(image)
    for label, entry in entries:
        name = f"{source}, annotation {entry.get('id')}"
        yield from shape_annotation(label, _mask(entry, size, name), frame, name, bool(entry.get("iscrowd", 0)))


def _mask(entry: Mapping[str, Any], size: tuple[int, int], name: str) -> dict[str, Any] | None:
    shape = entry.get("segmentation")
    if isinstance(shape, dict):
        rle = validated(shape, name)
        if tuple(rle["size"]) != size:
            raise DataError(f"{name}: run lengths for {rle['size']} (height, width), the image is listed as {size}.")
        return rle
    try:
        if shape:
            return from_polygons(shape, size)
        x, y, width, height = (float(v) for v in entry["bbox"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{name}: neither polygons, run lengths nor a box ({error!r}).") from error
    notice("box as mask", f"{name}: no polygon, only a box; its rectangle is taken as the mask.")
    return from_box((x, y, x + width, y + height), size)


__all__ = ["build", "matches"]
