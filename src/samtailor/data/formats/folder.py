"""Images and binary masks of the same name: images/ + masks/, or one mask folder per class: masks/<class>/."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from samtailor.data.image import SUFFIXES, header, read_mask
from samtailor.data.layout import file_sample, mask_annotation
from samtailor.data.listing import chosen, files, has_files, natural_key, paired, single_class, subfolder
from samtailor.data.placement import fitted
from samtailor.errors import DataError, InputError
from samtailor.structures import Annotation, Sample

_IMAGES, _MASKS = ("images", "image", "imgs"), ("masks", "mask")
_ENDINGS = ("_mask", "-mask", "_segmentation")


def matches(path: Path) -> bool:
    """Whether `path` holds images/ and masks/ (upper and lower case, and "image", "imgs", "mask" too)."""
    return subfolder(path, *_IMAGES) is not None and has_files(subfolder(path, *_MASKS), *SUFFIXES)


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    images: str | None = None,
    masks: str | None = None,
    mask_suffix: str | None = None,
) -> Iterable[Sample]:
    """Samples of a folder of images and binary masks (object: above 0).

    Args:
        path: folder of the data set.
        classes: class folders to read; in a layout without class folders one name for its objects ("object").
        images: folder of the images relative to `path`; found by itself when left out.
        masks: likewise of the masks.
        mask_suffix: what a mask's name has behind the image's ("_mask"); found by itself when left out.

    Raises:
        DataError: a folder is missing or empty, nothing pairs up, names are ambiguous. Reading a mask whose aspect
            differs from its image's raises as well.
        InputError: an unknown class.
    """
    image_folder = _folder(path, images, _IMAGES, "images")
    mask_folder = _folder(path, masks, _MASKS, "masks")
    image_files = files(image_folder)
    folders = _class_folders(mask_folder, image_folder, image_files)
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
        yield from mask_annotation(label, fitted(read_mask(file), frame, file), file)


def _folder(root: Path, given: str | None, usual: Sequence[str], what: str) -> Path:
    if given is not None:
        if not (root / given).is_dir():
            raise InputError(f"There is no folder {given!r} in {root} for the {what}.")
        return root / given
    found = subfolder(root, *usual)
    if found is None:
        raise DataError(f"{root} has no folder {usual[0]!r} for the {what}. Rename it, or give its name as an option.")
    return found


def _class_folders(masks: Path, images: Path, image_files: Mapping[str, Path]) -> dict[str, Path]:
    """Folders of classes; empty where masks/ mirrors the folders of images/ (or has none)."""
    inside = {entry.name: entry for entry in sorted(masks.iterdir()) if entry.is_dir() and entry.name[0] != "."}
    inside = {name: folder for name, folder in inside.items() if has_files(folder, *SUFFIXES)}
    if not inside or all((images / name).is_dir() for name in inside):
        return {}
    if any(entry.suffix.lower() in SUFFIXES and entry.name[0] != "." for entry in masks.iterdir() if entry.is_file()):
        raise DataError(
            f"{masks} holds both mask files and folders ({', '.join(list(inside)[:5])}). Put every mask into "
            "a folder of its class, or all of them directly there."
        )
    if all(name in image_files for name in inside):
        raise DataError(
            f"{masks} has one folder per image, which would be read as one class per image. Join the masks of "
            "an image to one instance map (format 'instances'), or sort them into masks/<class>/."
        )
    return inside


def _masks(folder: Path, images: Mapping[str, Path], suffix: str | None) -> dict[str, Path]:
    """Mask files by the stem of their image."""
    found = files(folder)
    if suffix is not None:
        return {stem.removesuffix(suffix): file for stem, file in found.items() if stem.endswith(suffix)}
    if not any(stem in images for stem in found):
        for ending in _ENDINGS:
            if any(stem.endswith(ending) and stem.removesuffix(ending) in images for stem in found):
                return _masks(folder, images, ending)
    return found


__all__ = ["build", "matches"]
