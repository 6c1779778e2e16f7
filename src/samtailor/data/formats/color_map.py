"""Color class maps: images/ + masks/ (or labels/, annotations/) and a palette file (CSV, JSON, text) of classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from samtailor.data.color_maps import NOTHING, by_color, palette_file, read_palette
from samtailor.data.image import SUFFIXES, header, read_colors
from samtailor.data.index_maps import colors_in, of_classes
from samtailor.data.layout import file_sample
from samtailor.data.listing import chosen, files, folders_in, has_files, paired, subfolder
from samtailor.data.parts import part_named
from samtailor.errors import DataError, InputError
from samtailor.structures import Annotation, Sample

_IMAGES = ("images", "image", "imgs", "img", "original_images", "rgb")
_MASKS = (
    "masks",
    "mask",
    "labels",
    "label",
    "annotations",
    "label_images_semantic",
    "color_masks",
    "gt",
    "groundtruth",
)
_PARTNER = ("{}_labels", "{}_masks", "{}annot", "{}_label", "{}_mask", "{}_gt")
_ENDINGS = ("", "_L", "_mask", "-mask", "_label", "_labels", "_color", "_gt", "_lab")


def matches(path: Path) -> bool:
    """Whether there are folders of images and maps, and a file that lists classes with colors."""
    places = _places(path)
    if not places or ((path / "labelmap.txt").is_file() and subfolder(path, "SegmentationClass")):
        return False
    if not all(_aligned(images, masks) for _, images, masks in places):
        return False  # masks/CLASS/ holds binary masks
    return palette_file(path, *(masks for _, _, masks in places)) is not None


def build(path: Path, *, classes: Sequence[str] | None = None, palette: str | None = None) -> Iterable[Sample]:
    """Samples of a data set of color maps: one annotation per class and image.

    The classes background, void, ignore, unlabeled and none, and black without a name, are no classes.

    Args:
        path: folder of the data set.
        classes: class names to read; None for all.
        palette: palette file relative to `path`; None detects it.

    Raises:
        DataError: folders or the palette are missing, or no image has a map. Reading a map with a color that is not in
            the palette raises it too.
        InputError: an unknown class, or no such palette file.
    """
    places = _places(path)
    if not places:
        raise DataError(f"{path} must contain a folder of images and a folder of color maps, for example masks/.")
    file = path / palette if palette is not None else palette_file(path, *(masks for _, _, masks in places))
    if palette is not None and not (path / palette).is_file():
        raise InputError(f"There is no palette file {palette!r} in {path}.")
    if file is None:
        raise DataError(f"{path} has no palette file. Add classes.csv with the columns name,r,g,b.")
    names = read_palette(file)
    wanted = frozenset(chosen(classes, dict.fromkeys(n for n in names.values() if n.lower() not in NOTHING)))
    nothing = {color for color, name in names.items() if name.lower() in NOTHING}
    content = partial(colors_in, without=nothing)
    samples = []
    for part, images, masks in places:
        image_files = files(images, role="image")
        maps = _maps(masks, image_files)
        stems = paired(image_files, maps, "color map", content=content)
        for stem in stems:
            id = f"{part}/{stem}" if part else stem
            samples.append(
                file_sample(id, image_files[stem], _annotations, maps[stem], names, wanted, part=part_named(part))
            )
    return samples


def _places(path: Path) -> list[tuple[str, Path, Path]]:
    """(part, image folder, mask folder): images/ + masks/, in the top folder or in parts, or PART/ + PART_labels/."""
    inside = {folder.name.lower(): folder for folder in folders_in(path)}
    images = next((inside[name] for name in _IMAGES if name in inside), None)
    masks = next((inside[name] for name in _MASKS if name in inside), None)
    if images and masks:
        return [("", images, masks)] if _filled(images, masks) else []
    places = []
    for name, folder in inside.items():
        partner = next((inside[p] for form in _PARTNER if (p := form.format(name)) in inside), None)
        images, masks = (folder, partner) if partner else (None, None)
        if part_named(name) and partner is None:
            images, masks = subfolder(folder, *_IMAGES), subfolder(folder, *_MASKS)
        if images and masks and _filled(images, masks):
            places.append((folder.name, images, masks))
    return places


def _filled(images: Path, masks: Path) -> bool:
    return has_files(images, *SUFFIXES) and has_files(masks, *SUFFIXES)


def _aligned(images: Path, masks: Path) -> bool:
    """Whether masks lie directly in their folder, or in folders of the same names as the images."""
    if any(os.path.splitext(name)[1].lower() in SUFFIXES for name in os.listdir(masks)):
        return True
    return all((images / folder.name).is_dir() for folder in folders_in(masks))


def _maps(folder: Path, images: Mapping[str, Path]) -> dict[str, Path]:
    """Maps by the stem of their image; names may have one of the usual endings more."""
    maps = files(folder, role="annotation")

    def renamed(ending: str) -> dict[str, Path]:
        return {stem.removesuffix(ending): file for stem, file in maps.items() if stem.endswith(ending)}

    return max((renamed(ending) for ending in _ENDINGS), key=lambda table: len(table.keys() & images.keys()))


def _annotations(image: Path, file: Path, names: Mapping[int, str], wanted: frozenset[str]) -> Iterator[Annotation]:
    index, labels = by_color(read_colors(file), names, file)
    yield from of_classes(index, header(image), labels, wanted, file)


__all__ = ["build", "matches"]
