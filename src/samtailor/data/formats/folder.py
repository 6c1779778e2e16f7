"""Images and binary masks of the same name: images/ + masks/, or one mask folder per class: masks/<class>/."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from samtailor.data.formats import color_map
from samtailor.data.image import SUFFIXES, header, read_mask
from samtailor.data.layout import file_sample, mask_annotation
from samtailor.data.listing import chosen, files, has_files, natural_key, paired, read_json, single_class, subfolder
from samtailor.data.placement import to_image_frame
from samtailor.errors import DataError, InputError
from samtailor.structures import Annotation, Sample

_IMAGES, _MASKS = ("images", "image", "imgs"), ("masks", "mask")
_ENDINGS = ("_mask", "-mask", "_segmentation")


def matches(path: Path) -> bool:
    """Whether `path` contains images/ and masks/ (ignoring case; also "image", "imgs", "mask"), without a palette."""
    if subfolder(path, *_IMAGES) is None or not has_files(subfolder(path, *_MASKS), *SUFFIXES):
        return False
    return not color_map.matches(path)


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    images: str | None = None,
    masks: str | None = None,
    mask_suffix: str | None = None,
) -> Iterable[Sample]:
    """Samples of a folder of images and binary masks (foreground: above 0).

    Args:
        path: folder of the data set.
        classes: class folders to read, None for all; without class folders, one name for the objects ("object").
        images: folder of the images relative to `path`; None detects it.
        masks: folder of the masks relative to `path`; None detects it.
        mask_suffix: suffix that mask names add to image names ("_mask"); None detects it.

    Raises:
        DataError: a folder is missing or empty, no image has a mask, or names are ambiguous. Reading a mask whose
            aspect ratio differs from its image raises it too.
        InputError: an unknown class.
    """
    image_folder = _folder(path, images, _IMAGES, "images")
    mask_folder = _folder(path, masks, _MASKS, "masks")
    image_files = files(image_folder)
    folders = _listed_folders(path, mask_folder) or _class_folders(mask_folder, image_folder, image_files)
    if folders:
        wanted = chosen(classes, sorted(folders, key=natural_key))
        by_class = {label: _masks(folders[label], image_files, mask_suffix) for label in folders}
    else:
        wanted = (single_class(classes, "object"),)
        by_class = {wanted[0]: _masks(mask_folder, image_files, mask_suffix)}
    stems = paired(image_files, set().union(*by_class.values()), "mask")
    return [
        file_sample(
            stem, image_files[stem], _annotations, {n: by_class[n][stem] for n in wanted if stem in by_class[n]}
        )
        for stem in stems
    ]


def _annotations(image: Path, masks: Mapping[str, Path]) -> Iterator[Annotation]:
    frame = header(image)
    for label, file in masks.items():
        yield from mask_annotation(label, to_image_frame(read_mask(file), frame, file), file)


def _folder(root: Path, given: str | None, usual: Sequence[str], what: str) -> Path:
    if given is not None:
        if not (root / given).is_dir():
            raise InputError(f"There is no folder {given!r} for the {what} in {root}.")
        return root / given
    folder = subfolder(root, *usual)
    if folder is None:
        raise DataError(f"{root} has no folder {usual[0]!r} for the {what}. Rename it, or set the option {what!r}.")
    return folder


def _listed_folders(path: Path, masks: Path) -> dict[str, Path]:
    """Class folders by name, from folders.json (folder to class name), which samtailor writes; empty without it."""
    file = path / "folders.json"
    table = read_json(file) if file.is_file() else None
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        return {}  # a file of another program
    inside = (entry for entry in sorted(masks.iterdir()) if entry.is_dir() and entry.name[0] != ".")
    return {table.get(entry.name, entry.name): entry for entry in inside if has_files(entry, *SUFFIXES)}


def _class_folders(masks: Path, images: Path, image_files: Mapping[str, Path]) -> dict[str, Path]:
    """Class folders by name; empty if masks/ mirrors the folders of images/ or has no folders."""
    inside = {entry.name: entry for entry in sorted(masks.iterdir()) if entry.is_dir() and entry.name[0] != "."}
    inside = {name: folder for name, folder in inside.items() if has_files(folder, *SUFFIXES)}
    if not inside or all((images / name).is_dir() for name in inside):
        return {}
    if any(entry.suffix.lower() in SUFFIXES and entry.name[0] != "." for entry in masks.iterdir() if entry.is_file()):
        raise DataError(
            f"{masks} contains both mask files and folders ({', '.join(list(inside)[:5])}). Put either every mask into "
            "the folder of its class, or no mask into a folder."
        )
    if all(name in image_files for name in inside):
        raise DataError(
            f"{masks} has one folder per image, which would be read as one class per image. Combine the masks of an "
            "image into one instance map (format 'instances'), or sort them into masks/<class>/."
        )
    return inside


def _masks(folder: Path, images: Mapping[str, Path], suffix: str | None) -> dict[str, Path]:
    """Mask files by the stem of their image."""
    by_stem = files(folder)
    if suffix is not None:
        return {stem.removesuffix(suffix): file for stem, file in by_stem.items() if stem.endswith(suffix)}
    if not any(stem in images for stem in by_stem):
        for ending in _ENDINGS:
            if any(stem.endswith(ending) and stem.removesuffix(ending) in images for stem in by_stem):
                return _masks(folder, images, ending)
    return by_stem


__all__ = ["build", "matches"]
