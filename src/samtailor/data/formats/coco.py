"""COCO: JSON files in annotations/ or the top folder, with images, categories and annotations (polygon, RLE, box)."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from samtailor.data.account import OTHER_CLASS, count, count_images, describe, leave_out, leave_out_image
from samtailor.data.coco_shapes import Crowds, beyond, drawn_as, mask_of, number, truth
from samtailor.data.finder import ImageFinder, image_id
from samtailor.data.image import header
from samtailor.data.json_kinds import json_files, json_kind
from samtailor.data.layout import file_sample, rle_annotation
from samtailor.data.listing import chosen, plain, read_json, subfolder
from samtailor.data.notices import notice
from samtailor.data.parts import part_named
from samtailor.data.placement import declared_size
from samtailor.errors import DataError, InputError, counted
from samtailor.registry import choose
from samtailor.structures import Annotation, Sample

_ADDRESS = re.compile(r"\?d=|://")  # Label Studio exports COCO with the addresses of the images
_MASKS = ("masks", "mask", "labels", "groundtruth", "SegmentationClass", "SegmentationObject")
CROWD = ("auto", "keep", "objects")


def matches(path: Path) -> bool:
    """Whether a JSON file in annotations/, the top folder, or <part>/_annotations.coco.json (Roboflow) is COCO."""
    return bool(_jsons(path, most=3))


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    annotations: str | None = None,
    images: str | None = None,
    crowd: str = "auto",
) -> Iterable[Sample]:
    """Samples of a COCO data set, including images without annotations.

    Args:
        path: folder of the data set.
        classes: category names to read; None for all.
        annotations: JSON file relative to `path`; None uses all instances*.json, or all COCO files. Files that are
            named after a part (train.json, instances_val2017.json) assign their images to it.
        images: folder of the images relative to `path`; None searches `path`.
        crowd: "keep" reads annotations with iscrowd 1 as regions of many objects, which are no targets; "objects"
            reads them as objects; "auto" decides by the file: programs for annotation mark every brush mask so.

    Raises:
        DataError: no COCO file, an invalid file, two files that list one image, no image on disk. Reading an
            annotation with an invalid shape raises it too.
        InputError: an unknown class or option.
    """
    choose("crowd", crowd, CROWD)
    if images is not None and not (path / images).is_dir():
        raise InputError(f"There is no image folder {images!r} in {path}.")
    sources = [path / annotations] if annotations is not None else _choice(path)
    sheets = [_Sheet.read(source) for source in sources]
    wanted = frozenset(chosen(classes, {name: None for sheet in sheets for name in sheet.names.values()}))
    finder = ImageFinder(path / images if images is not None else path, skip=_MASKS)
    listed = [entry for sheet in sheets for entry in _listed(sheet, finder)]
    crowds = Crowds.of(crowd, [entry for sheet in sheets for entry in sheet.annotations])
    _refuse_shared(listed)
    ids = _ids(listed, path)
    finder.account([entry.file for entry in listed], (), "entry in the COCO files")
    if not listed:
        raise DataError(f"None of the images of {sources[0]} exists. Expected them in {path / 'images'}.")
    turned = any(beyond(entry.size, entry.entries) for entry in listed)
    several = len({part_named(sheet.file.stem) or part_named(sheet.file.parent.name) for sheet in sheets}) > 1
    return [
        file_sample(
            ids[entry.file], entry.file, _annotations, entry.size, tuple(entry.entries), entry.sheet.names, wanted,
            entry.sheet.file, crowds, turned, part=entry.sheet.part if several else None,
        )
        for entry in listed
    ]  # fmt: skip


@dataclass
class _Sheet:
    """One COCO file."""

    file: Path
    names: dict[int | str, str]
    images: list[Mapping[str, Any]]
    annotations: list[Mapping[str, Any]]

    @property
    def part(self) -> str | None:
        return part_named(self.file.stem) or part_named(self.file.parent.name)

    @classmethod
    def read(cls, file: Path) -> _Sheet:
        content = read_json(file)
        keys = ("images", "annotations", "categories")
        lists: list[Any] = [content.get(key) for key in keys] if isinstance(content, dict) else []
        if not lists or not all(isinstance(one, list) and all(isinstance(e, dict) for e in one) for one in lists):
            raise DataError(f"{file}: a COCO file must be an object with the lists {', '.join(keys)}.")
        images, annotations, categories = lists
        try:
            names = {number(category["id"]): str(category["name"]) for category in categories}
        except (KeyError, TypeError) as error:
            raise DataError(f"{file}: every category needs an id and a name ({error!r}).") from error
        return cls(file, names, images, annotations)


@dataclass
class _Listed:
    """An image of a COCO file that exists."""

    sheet: _Sheet
    name: str
    file: Path
    size: tuple[int, int] | None
    entries: list[Mapping[str, Any]] = field(default_factory=list)


def _jsons(path: Path, most: int | None = None) -> list[Path]:
    folders = [folder for folder in (subfolder(path, "annotations"), path) if folder]
    candidates = [file for folder in folders for file in json_files(folder)[:most]]
    candidates += sorted(path.glob("*/_annotations.coco.json"))
    return [file for file in candidates if json_kind(file) == "coco"]


def _choice(path: Path) -> list[Path]:
    candidates = _jsons(path)
    best = [f for f in candidates if f.name.startswith("instances") or f.name == "_annotations.coco.json"] or candidates
    if not best:
        raise DataError(f"{path} has no COCO file, neither in annotations/ nor in the top folder.")
    for file in candidates:
        if file not in best:
            notice("annotation file not used", f"{file}: not read, because there are files named instances*.json.")
    describe(f"annotations: {counted(len(best), 'COCO file')} ({', '.join(f.name for f in best[:4])})")
    return best


def _listed(sheet: _Sheet, finder: ImageFinder) -> list[_Listed]:
    """Images of a COCO file that exist, with their annotations. All others are left out with their reason."""
    by_id: dict[int | str, list[_Listed]] = defaultdict(list)
    by_file: dict[Path, _Listed] = {}
    absent: dict[int | str, str] = {}
    part = part_named(sheet.file.stem) or part_named(sheet.file.parent.name)
    for position, image in enumerate(sheet.images):
        if not isinstance(image.get("file_name"), str) or "id" not in image:
            raise DataError(f"{sheet.file}: image {position} needs an id and a file_name, got {str(image)[:100]}.")
        name, id = plain(image["file_name"]), number(image["id"])
        file = finder.find(name, sheet.file, within=part)
        if file is None:
            count_images()
            leave_out_image("annotation without image", f"{sheet.file}: the image {name!r} does not exist.")
            absent[id] = name
        elif file in by_file:
            count_images()
            leave_out_image(
                "image listed twice", f"{sheet.file}: {name!r} is listed twice; the annotations are joined."
            )
            by_id[id].append(by_file[file])
        else:
            by_file[file] = _Listed(sheet, name, file, _stated(image, name, sheet.file))
            by_id[id].append(by_file[file])
    _assign(sheet, by_id, absent)
    return list(by_file.values())


def _assign(sheet: _Sheet, by_id: Mapping[int | str, list[_Listed]], absent: Mapping[int | str, str]) -> None:
    """Give every annotation to its image; those without one are left out."""
    for entry in sheet.annotations:
        if "segments_info" in entry:
            raise DataError(
                f"{sheet.file} is a panoptic file of COCO, whose masks are PNGs. Use a file of instances; the option "
                "annotations chooses it."
            )
        if "image_id" not in entry or "category_id" not in entry:
            raise DataError(f"{sheet.file}: annotation {entry.get('id')} needs an image_id and a category_id.")
        id, title = number(entry["image_id"]), f"{sheet.file}: annotation {entry.get('id')}"
        if number(entry["category_id"]) not in sheet.names:
            raise DataError(f"{title} has the unlisted category {entry['category_id']!r}.")
        images = list({image.file: image for image in by_id.get(id, ())}.values())
        if len(images) == 1 and id not in absent:
            images[0].entries.append(entry)
            continue
        count()
        if len(images) + (id in absent) > 1:
            names = [image.name for image in images] + ([absent[id]] if id in absent else [])
            leave_out("image id listed twice", f"{title} has the image_id {id}, which {' and '.join(names[:3])} share.")
        elif id in absent:
            leave_out("annotation without image", f"{title} belongs to the image {absent[id]!r}, which does not exist.")
        else:
            leave_out("annotation of an unlisted image", f"{title} has the image_id {id}, which no image has.")


def _stated(image: Mapping[str, Any], name: str, file: Path) -> tuple[int, int] | None:
    """Size that the file states for an image, (height, width); None without one."""
    height, width = image.get("height"), image.get("width")
    if not height or not width:
        return None
    try:
        size = int(float(height)), int(float(width))
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{file}: {name!r} has the height {height!r} and the width {width!r}.") from error
    if min(size) < 1:
        raise DataError(f"{file}: {name!r} has the height {height!r} and the width {width!r}.")
    return size


def _refuse_shared(listed: Sequence[_Listed]) -> None:
    sources: dict[Path, _Listed] = {}
    for entry in listed:
        other = sources.setdefault(entry.file, entry)
        if other.sheet is not entry.sheet:
            raise DataError(
                f"{other.sheet.file} and {entry.sheet.file} both list the image {entry.name!r}. "
                "Choose one of these files: annotations=..."
            )


def _ids(listed: Sequence[_Listed], root: Path) -> dict[Path, str]:
    """Ids by file: the listed path without suffix, or with it where two images differ only in the suffix.

    Images that have the same path in two COCO files, or are listed by an address, have the path of the file as id.
    """
    paths = {
        entry.file: PurePosixPath(image_id(root, entry.file) if _ADDRESS.search(entry.name) else entry.name).with_name(
            plain(entry.file.name)
        )
        for entry in listed
    }
    if len(set(paths.values())) < len(paths):
        paths = {file: PurePosixPath(plain(os.path.relpath(file, root))) for file in paths}
    stems = Counter(path.with_suffix("") for path in paths.values())
    return {
        file: (path if stems[path.with_suffix("")] > 1 else path.with_suffix("")).as_posix().lstrip("./")
        for file, path in paths.items()
    }


def _annotations(
    image: Path,
    stated: tuple[int, int] | None,
    entries: Sequence[Mapping[str, Any]],
    names: Mapping[int | str, str],
    wanted: frozenset[str],
    source: Path,
    crowds: Crowds,
    shown: bool,
) -> Iterator[Annotation]:
    frame = header(image)
    count(len(entries))
    size = frame.size if stated is None or (shown and stated == frame.size[::-1]) else stated
    size = declared_size(*size, frame, f"{source}, image {image.name}")
    for entry in entries:
        label, name = names[number(entry["category_id"])], f"{source}, annotation {entry.get('id')}"
        if label not in wanted:
            leave_out(OTHER_CLASS, f"{name}: {label!r}", quiet=True)
            continue
        crowd = truth(entry.get("iscrowd", 0), name) and crowds.real
        if crowd:
            notice("crowd region", f"{name}: a region of many {label!r} (iscrowd 1), which is no target.")
        mask = mask_of(entry, size, frame, name)
        yield from rle_annotation(label, mask, frame, name, crowd, drawn_as(entry))


__all__ = ["CROWD", "build", "matches"]
