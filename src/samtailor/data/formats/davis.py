"""DAVIS: JPEGImages/480p/SEQUENCE/ + Annotations/480p/SEQUENCE/ with one palette index per object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from samtailor.data.image import SUFFIXES, header, read_index
from samtailor.data.index_maps import of_instances, values_in
from samtailor.data.layout import file_sample
from samtailor.data.listing import files, folders_in, has_files, paired, single_class, subfolder
from samtailor.data.parts import list_parts
from samtailor.errors import DataError, InputError
from samtailor.structures import Annotation, Sample

_RESOLUTIONS = ("480p", "1080p", "Full-Resolution")
_VOID = 255


def matches(path: Path) -> bool:
    """Whether JPEGImages/ and Annotations/ have folders of one name (a resolution, or a sequence) with PNG maps."""
    return _folders(path, None) is not None


def build(
    path: Path, *, classes: Sequence[str] | None = None, resolution: str | None = None, year: str | None = None
) -> Iterable[Sample]:
    """Samples of DAVIS (also of YouTube-VOS). Frames of a sequence are one group; its lists become the parts.

    Args:
        path: folder of the data set.
        classes: one name for the objects; None is "object".
        resolution: folder of a resolution; None takes 480p, else the one that there is.
        year: folder in ImageSets/ with the lists of sequences; None takes the newest.

    Raises:
        DataError: folders are missing or no frame has a map.
        InputError: no such resolution or year.
    """
    label = single_class(classes, "object")
    folders = _folders(path, resolution)
    if folders is None and resolution is not None:
        raise InputError(f"{path} has no frames and maps of the resolution {resolution!r}.")
    if folders is None:
        raise DataError(f"{path} must contain JPEGImages/480p/SEQUENCE/ and Annotations/480p/SEQUENCE/.")
    parts = _parts(path, year)
    images, maps = files(folders[0], role="image"), files(folders[1], [".png"], role="annotation")
    samples = []
    for stem in paired(images, maps, "map", content=values_in):
        sequence = stem.rpartition("/")[0]
        sample = file_sample(stem, images[stem], _annotations, maps[stem], label, part=parts.get(sequence))
        samples.append(replace(sample, group=sequence or None))
    return samples


def _folders(path: Path, resolution: str | None) -> tuple[Path, Path] | None:
    images, maps = subfolder(path, "JPEGImages"), subfolder(path, "Annotations")
    if images is None or maps is None:
        return None
    wanted = (resolution,) if resolution is not None else _RESOLUTIONS
    for name in wanted:
        one, other = subfolder(images, name), subfolder(maps, name)
        if one and other and has_files(one, *SUFFIXES) and has_files(other, ".png"):
            return one, other
    if resolution is not None or has_files(maps, ".xml"):
        return None
    shared = {f.name for f in folders_in(images)} & {f.name for f in folders_in(maps)}
    return (images, maps) if any(has_files(maps / name, ".png") for name in sorted(shared)) else None


def _parts(path: Path, year: str | None) -> dict[str, str]:
    sets = subfolder(path, "ImageSets")
    if year is not None and (sets is None or subfolder(sets, year) is None):
        raise InputError(f"{path} has no lists of sequences in ImageSets/{year}/.")
    if sets is None:
        return {}
    years = [f for f in reversed(folders_in(sets)) if f.name.isdecimal()]
    folder = subfolder(sets, year) if year is not None else next(iter(years), sets)
    return list_parts(folder)


def _annotations(image: Path, file: Path, label: str) -> Iterator[Annotation]:
    index = read_index(file)
    single = not ((index > 0) & (index < _VOID)).any()  # 255 is the object of DAVIS 2016, else a region to ignore
    yield from of_instances(index.astype(np.int32), header(image), label, file, void=() if single else (_VOID,))


__all__ = ["build", "matches"]
