"""Images and binary masks of the same name: images/ + masks/, or one mask folder per class: masks/<class>/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from samtailor.data import pairing
from samtailor.data.account import describe
from samtailor.data.class_lists import names_file
from samtailor.data.formats import color_map
from samtailor.data.image import SUFFIXES
from samtailor.data.index_maps import values_in
from samtailor.data.layout import file_sample
from samtailor.data.listing import (
    chosen,
    files,
    has_files,
    natural_key,
    paired,
    read_json,
    single_class,
    subfolder,
)
from samtailor.data.mask_sets import Meaning, meaning, of_masks
from samtailor.errors import DataError, InputError
from samtailor.structures import Sample

_IMAGES, _MASKS = ("images", "image", "imgs"), ("masks", "mask")
LABEL = "object"
"""Class of masks without a class name."""

Masks = Mapping[str, Sequence[tuple[str, Path]]]


def matches(path: Path) -> bool:
    """Whether `path` contains images/ and masks/ (ignoring case; also "image", "imgs", "mask")."""
    return (
        subfolder(path, *_IMAGES) is not None
        and has_files(subfolder(path, *_MASKS), *SUFFIXES)
        and not color_map.matches(path)
    )


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    images: str | None = None,
    masks: str | None = None,
    mask_suffix: str | None = None,
    pair: str | None = None,
    values: str = "auto",
    names: str | None = None,
    first_index: int | None = None,
    unlabeled: str = "skip",
) -> Iterable[Sample]:
    """Samples of a folder of images and masks.

    Args:
        path: folder of the data set.
        classes: class folders or names to read, None for all; without class names, one name for the objects ("object").
        images: folder of the images relative to `path`; None detects it.
        masks: folder of the masks relative to `path`; None detects it.
        mask_suffix: suffix that mask names add to image names ("_mask"); None discovers the pattern of the names.
        pair: images and masks as two paths with {} for the name, images/{}.jpg:masks/{}_GT.png, in place of `images`,
            `masks` and `mask_suffix`.
        values: what the values of the masks mean: "binary", "inverted" (binary, the object is black), "instances" or
            "classes"; "auto" decides by a sample.
        names: file of the class names of class maps relative to `path`; None uses classes.txt, labels.json, ...
        first_index: value of the first class of a text file; None decides, see `class_lists.read_names`.
        unlabeled: "skip" leaves out images without a mask; "negative" reads them as images without objects.

    Raises:
        DataError: a folder is missing or empty, no image has a mask, names are ambiguous, or the kind of the masks is.
            Reading a mask whose aspect ratio differs from its image raises it too.
        InputError: an unknown class or option.
    """
    name_file = path / names if names is not None else names_file(path)
    if pair is not None:
        return mask_samples(*by_template(path, pair), classes, values, name_file, first_index, unlabeled)
    image_folder = _folder(path, images, _IMAGES, "images")
    mask_folder = _folder(path, masks, _MASKS, "masks")
    image_files = files(image_folder, role="image")
    folders = _listed_folders(path, mask_folder) or _class_folders(mask_folder, image_folder, image_files)
    if not folders:
        mask_files = files(mask_folder, role="annotation")
        tops = sorted({stem.partition("/")[0] for stem in mask_files if "/" in stem})
        if len(tops) > 1:
            describe(f"folders in both images and masks: part of the ids, no classes ({', '.join(tops[:6])})")
        by_image = paired_masks(image_files, mask_files, LABEL, mask_suffix)
        return mask_samples(image_files, by_image, classes, values, name_file, first_index, unlabeled)
    by_class = {
        label: paired_masks(image_files, files(folders[label], role="annotation"), label, mask_suffix)
        for label in sorted(folders, key=natural_key)
    }
    joined = {stem: [m for masks in by_class.values() for m in masks.get(stem, ())] for stem in _stems(by_class)}
    wanted = chosen(classes, by_class)
    return mask_samples(image_files, joined, wanted, values, None, first_index, unlabeled, folders=True)


def by_template(path: Path, pair: str) -> tuple[dict[str, Path], Masks]:
    """Images and masks that the option `pair` names, see `pairing.by_template`."""
    images, masks = pairing.by_template(path, pair)
    describe(f"pairs: {pair} (as given)")
    return images, {stem: [(LABEL, file) for file in several] for stem, several in masks.items()}


def mask_samples(
    images: Mapping[str, Path],
    masks: Masks,
    classes: Sequence[str] | None,
    values: str,
    names: Path | None,
    first: int | None,
    unlabeled: str,
    *,
    folders: bool = False,
) -> list[Sample]:
    """Samples of images and their masks.

    Args:
        images: image files by stem.
        masks: class name and file of the masks, by the stem of their image.
        classes, values, first, unlabeled: options of `build`.
        names: file of class names.
        folders: whether the class names of `masks` are those of folders.
    """
    every = [file for several in masks.values() for _, file in several]
    how = meaning(every, values, names, first) if every else Meaning("binary")
    if how.kind == "classes" and how.names is not None:
        wanted = frozenset(chosen(classes, how.names.values()))
    elif folders:
        wanted = frozenset(classes or ())
    elif (labels := {label for stem in images for label, _ in masks.get(stem, ())}) - {LABEL}:
        wanted = frozenset(chosen(classes, sorted(labels, key=natural_key)))
    else:
        label = single_class(classes, LABEL)
        wanted = frozenset([label])
        masks = {stem: [(label, file) for _, file in several] for stem, several in masks.items()}

    def number(several: Sequence[tuple[str, Path]]) -> int:
        return sum(1 if how.kind in ("binary", "inverted") else values_in(file) for _, file in several)

    stems = paired(images, masks, "mask", unlabeled=unlabeled, content=number)

    return [file_sample(stem, images[stem], of_masks, tuple(masks.get(stem, ())), how, wanted) for stem in stems]


def paired_masks(
    images: Mapping[str, Path], masks: Mapping[str, Path], label: str, suffix: str | None = None
) -> dict[str, list[tuple[str, Path]]]:
    """Class and file of masks by the stem of their image; masks without an image stay under their own stem.

    The class is `label`, or the end of the mask's name if `label` is `LABEL` and the names end with classes.

    Raises:
        DataError: the names can be paired in two ways.
    """
    if suffix is not None:
        return {s.removesuffix(suffix): [(label, file)] for s, file in masks.items() if s.endswith(suffix)}
    pairs = pairing.pair(images, masks)
    if pairs is None:
        return {stem: [(label, file)] for stem, file in masks.items()}
    describe(f"pairs: {pairs.sentence(len(images), len(masks))}")
    labels = pairs.classes if label == LABEL else {}
    if labels:
        describe(f"classes: the ends of the names of the masks, {', '.join(sorted(set(labels.values())))}")
    by_image = {
        stem: [(labels.get(mask, label), masks[mask]) for mask in several] for stem, several in pairs.masks.items()
    }
    used = {mask for several in pairs.masks.values() for mask in several}
    alone = {_free(stem, images): [(label, file)] for stem, file in masks.items() if stem not in used}
    return {**by_image, **alone}


def _free(stem: str, images: Mapping[str, Path]) -> str:
    return stem if stem not in images else f"{stem} (mask)"


def _stems(by_class: Mapping[str, Mapping[str, object]]) -> list[str]:
    return sorted({stem for masks in by_class.values() for stem in masks}, key=natural_key)


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


__all__ = ["LABEL", "build", "mask_samples", "matches", "paired_masks"]
