"""COCO: a JSON file in annotations/ or the top folder, with images, categories and annotations (polygon, RLE, box)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from samtailor.data.image import SUFFIXES, header
from samtailor.data.layout import file_sample, rle_annotation
from samtailor.data.listing import chosen, json_mentions, read_json, subfolder
from samtailor.data.notices import notice
from samtailor.errors import DataError, InputError
from samtailor.masks.rle import from_box, from_polygons, validated
from samtailor.structures import Annotation, Sample


def matches(path: Path) -> bool:
    """Whether there is a COCO file in annotations/, in the top folder, or <part>/_annotations.coco.json (Roboflow)."""
    return bool(_jsons(path))


def build(
    path: Path, *, classes: Sequence[str] | None = None, annotations: str | None = None, images: str | None = None
) -> Iterable[Sample]:
    """Samples of a COCO data set, including images without annotations.

    Args:
        path: folder of the data set.
        classes: category names to read; None for all.
        annotations: JSON file relative to `path`; None uses all instances*.json, or the only COCO file.
        images: folder of the images relative to `path`; None detects it.

    Raises:
        DataError: no or several candidate files, an invalid file, an image listed twice, no image on disk. Reading an
            annotation with invalid run lengths raises it too.
        InputError: an unknown class.
    """
    sources = [path / annotations] if annotations is not None else _choice(path)
    contents = {source: _content(source) for source in sources}
    names = {name: None for content in contents.values() for name in _names(content).values()}
    wanted = frozenset(chosen(classes, names))
    find = _Finder(path, images)
    samples: dict[str, Sample] = {}
    for source, content in contents.items():
        for sample in _samples(source, content, find, wanted):
            if sample.id in samples:
                raise DataError(f"{source}: the image {sample.id!r} is listed twice. Choose one file: annotations=...")
            samples[sample.id] = sample
    if not samples:
        raise DataError(f"None of the images of {sources[0]} exists. Expected them in {path / 'images'}.")
    return list(samples.values())


def _jsons(path: Path) -> list[Path]:
    folders = [subfolder(path, "annotations"), path]
    candidates = [f for folder in folders if folder for f in sorted(folder.glob("*.json"))]
    candidates += sorted(path.glob("*/_annotations.coco.json"))
    return [f for f in candidates if f.name[0] != "." and json_mentions(f, "images", "annotations", "categories")]


def _choice(path: Path) -> list[Path]:
    candidates = _jsons(path)
    best = [f for f in candidates if f.name.startswith("instances") or f.name == "_annotations.coco.json"] or candidates
    if not best:
        raise DataError(f"{path} has no COCO file, neither in annotations/ nor in the top folder.")
    if len(best) > 1 and best == candidates and not all(f.name[:1] in "i_" for f in best):
        raise DataError(f"Several COCO files: {', '.join(f.name for f in best)}. Choose one: annotations=...")
    return best


def _content(file: Path) -> dict[str, Any]:
    content = read_json(file)
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in keys):
        raise DataError(f"{file}: a COCO file must be an object with the lists {', '.join(keys)}.")
    return content


def _names(content: Mapping[str, Any]) -> dict[int, str]:
    return {category["id"]: str(category["name"]) for category in content["categories"]}


class _Finder:
    """Finds image files: in the usual folders first, then anywhere if the file name is unique."""

    def __init__(self, root: Path, images: str | None) -> None:
        if images is not None and not (root / images).is_dir():
            raise InputError(f"There is no image folder {images!r} in {root}.")
        if images is not None:
            self.root = root / images
            self.places = [self.root]
        else:
            self.root = subfolder(root, "images") or root
            self.places = list(dict.fromkeys([self.root, root]))
        self.by_name: dict[str, list[Path]] | None = None

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
        matching = self.by_name.get(PurePosixPath(name).name, [])
        if len(matching) > 1:
            raise DataError(f"{source}: {name!r} could be {matching[0]} or {matching[1]}. Give the folder: images=...")
        return matching[0] if matching else None


def _samples(source: Path, content: Mapping[str, Any], find: _Finder, wanted: frozenset[str]) -> Iterator[Sample]:
    try:
        names = _names(content)
        by_image: dict[Any, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
        for entry in content["annotations"]:
            if entry["category_id"] not in names:
                number, category = entry.get("id"), entry["category_id"]
                raise DataError(f"{source}: annotation {number} has the unlisted category {category}.")
            if names[entry["category_id"]] in wanted:
                by_image[entry["image_id"]].append((names[entry["category_id"]], entry))
        for image in content["images"]:
            name = str(image["file_name"]).replace("\\", "/")
            file = find(name, source)
            if file is None:
                notice("annotation without image", f"{source}: the image {name!r} does not exist and is skipped.")
                continue
            size = (int(image["height"]), int(image["width"])) if image.get("height") else header(file).size
            stem = PurePosixPath(name).with_suffix("").as_posix().lstrip("./")
            entries = tuple(by_image.get(image["id"], ()))
            yield file_sample(stem, file, _annotations, size, entries, source)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{source}: not valid COCO ({error!r}).") from error


def _annotations(
    image: Path, size: tuple[int, int], entries: Sequence[tuple[str, Mapping[str, Any]]], source: Path
) -> Iterator[Annotation]:
    frame = header(image)
    for label, entry in entries:
        name = f"{source}, annotation {entry.get('id')}"
        yield from rle_annotation(label, _mask(entry, size, name), frame, name, bool(entry.get("iscrowd", 0)))


def _mask(entry: Mapping[str, Any], size: tuple[int, int], name: str) -> dict[str, Any] | None:
    segmentation = entry.get("segmentation")
    if isinstance(segmentation, dict):
        rle = validated(segmentation, name)
        if tuple(rle["size"]) != size:
            raise DataError(f"{name}: run lengths for {rle['size']} (height, width), but the image has size {size}.")
        return rle
    try:
        if segmentation:
            return from_polygons(segmentation, size)
        x, y, width, height = (float(v) for v in entry["bbox"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{name}: no valid polygons, run lengths or box ({error!r}).") from error
    notice("box as mask", f"{name}: no polygon, only a box, which is used as a rectangular mask.")
    return from_box((x, y, x + width, y + height), size)


__all__ = ["build", "matches"]
