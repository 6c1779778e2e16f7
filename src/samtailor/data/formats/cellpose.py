"""Cellpose: NAME.png + NAME_cp_masks.png or NAME_masks.png (or .tif) beside it, one number per object (no _seg.npy)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from samtailor.data.image import SUFFIXES, header, read_index
from samtailor.data.index_maps import of_instances, values_in
from samtailor.data.layout import file_sample
from samtailor.data.listing import files, paired, single_class
from samtailor.data.parts import part_of
from samtailor.errors import DataError
from samtailor.structures import Annotation, Sample

_MASKS = ("_cp_masks", "_masks")  # saved by Cellpose, and expected by it for training
_IMAGE, _CHANNELS = "_img", ("_flows", "_outlines", "_cp_output", "_overlay")
_PARTS = ("train", "test", "val", "valid")


def matches(path: Path) -> bool:
    """Whether image files NAME_masks.* or files NAME_seg.npy are in the top folder, or in train/, val/ or test/."""
    return any(_looks_so(folder) for folder in (path, *(path / part for part in _PARTS)))


def build(path: Path, *, classes: Sequence[str] | None = None) -> Iterable[Sample]:
    """Samples of images with the masks that Cellpose saves: one annotation per number above 0.

    Files _seg.npy are never opened: they are pickles, which can run code.

    Args:
        path: folder of the data set.
        classes: one name for the objects; None is "object".

    Raises:
        DataError: there are only _seg.npy files, or no image has a mask file. Reading a color image as a mask raises it
            too.
    """
    label = single_class(classes, "object")
    images, masks = _listed(path)
    if not masks:
        raise DataError(
            f"{path} has no NAME_masks.png or .tif. Files NAME_seg.npy are pickles, which can run code, and are not "
            "read. In Cellpose, save the masks as PNG or TIFF (Ctrl+N, or --save_png, --save_tif)."
        )
    return [
        file_sample(stem, images[stem], _annotations, masks[stem], label, part=part_of(path, images[stem]))
        for stem in paired(images, masks, "mask", content=values_in)
    ]


def _looks_so(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    stems = [os.path.splitext(name) for name in os.listdir(folder) if not name.startswith(".")]
    images = {stem for stem, suffix in stems if suffix.lower() in SUFFIXES}
    named = {stem for stem in map(_image_of, images) if stem is not None}
    seg = {stem.removesuffix("_seg") for stem, suffix in stems if suffix == ".npy" and stem.endswith("_seg")}
    return any(stem in images or stem + _IMAGE in images for stem in named | seg)


def _image_of(stem: str) -> str | None:
    """The stem of the image of a mask file; None if it is no mask file."""
    return next((stem.removesuffix(ending) for ending in _MASKS if stem.endswith(ending)), None)


def _listed(path: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Image and mask files by the stem of the image, which may end in _img."""
    every = files(path, role="image")
    others = {stem: file for stem, file in every.items() if not stem.endswith((*_MASKS, *_CHANNELS))}
    masks = {image: file for stem, file in every.items() if (image := _image_of(stem)) is not None}
    if any(stem not in others and stem + _IMAGE in others for stem in masks):
        others = {stem.removesuffix(_IMAGE): file for stem, file in others.items()}
    return others, masks


def _annotations(image: Path, file: Path, label: str) -> Iterator[Annotation]:
    yield from of_instances(read_index(file), header(image), label, file)


__all__ = ["build", "matches"]
