"""Images and masks under any names: two folders (photos/ + photos_mask/), or side by side (a.jpg + a_GT.png, a.png)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from samtailor.data import pairing
from samtailor.data.account import count_images, describe, leave_out_image
from samtailor.data.class_lists import names_file
from samtailor.data.formats.folder import LABEL, by_template, mask_samples, paired_masks
from samtailor.data.image import SUFFIXES, header, read_levels
from samtailor.data.listing import files, is_utf8, natural_key, plain, subfolder, walk
from samtailor.data.mask_values import inspect
from samtailor.data.parts import part_named
from samtailor.errors import DataError
from samtailor.structures import Sample

FALLBACK = True
"""Asked only where no other layout matches (`data.dataset.detect`)."""
_MASK_WORDS = frozenset(
    {
        *("mask", "masks", "groundtruth", "ground", "truth", "truths", "gt", "label", "labels", "labeled", "labelled"),
        *("annotation", "annotations", "ann", "seg", "segs", "segmentation", "segmentations", "target", "targets"),
        *("manual", "matte", "mattes", "alpha", "output"),
    }
)
_IMAGE_WORDS = frozenset(
    {
        *("image", "images", "img", "imgs", "photo", "photos", "input", "inputs", "original", "originals", "raw"),
        *("rgb", "jpg", "frames"),
    }
)
_LOOKED_AT = 4  # files of a folder that are read to recognize masks
_LOSSY = (".jpg", ".jpeg", ".jfif", ".webp", *(".heic", ".heif"))


def matches(path: Path) -> bool:
    """Whether images and masks can be distinguished. Only asked where no other layout matches, see `FALLBACK`."""
    if not path.is_dir():
        return False
    try:
        return any(pairing.pair(one.images, one.masks) is not None for one in _sets(path))
    except DataError:  # two ways to pair; `build` says so
        return True


def build(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    pair: str | None = None,
    values: str = "auto",
    names: str | None = None,
    first_index: int | None = None,
    unlabeled: str = "skip",
) -> Iterable[Sample]:
    """Samples of images and masks whose folders and names follow some pattern, which is discovered.

    Folders named after a part (train, val, test) may contain such a data set each.

    Args:
        path: folder of the data set.
        classes: names of the classes to read, None for all; without class names, one name for the objects ("object").
        pair: images and masks as two paths with {} for the name, "photos/{}.jpg:truth/{}_GT.png"; None discovers them.
        values, names, first_index, unlabeled: as in the format `folder`.

    Raises:
        DataError: images and masks cannot be distinguished, or their names can be paired in two ways.
        InputError: an unknown class or option.
    """
    name_file = path / names if names is not None else names_file(path)
    if pair is not None:
        return mask_samples(*by_template(path, pair), classes, values, name_file, first_index, unlabeled)
    sets = list(_sets(path))
    if not sets:
        raise DataError(
            f"{path}: images and masks cannot be distinguished. Name them with the option pair, for example "
            "pair=photos/{}.jpg:masks/{}_GT.png."
        )
    images: dict[str, Path] = {}
    masks: dict[str, list[tuple[str, Path]]] = {}
    for one in sets:
        describe(f"images and masks: {one.sentence}")
        paired = paired_masks(one.images, one.masks, LABEL)
        images |= {one.prefix + stem: file for stem, file in one.images.items()}
        masks |= {one.prefix + stem: several for stem, several in paired.items()}
    _account_others(path, [*images.values(), *(file for several in masks.values() for _, file in several)])
    return mask_samples(images, masks, classes, values, name_file, first_index, unlabeled)


@dataclass(frozen=True)
class _Set:
    """Image and mask files by stem; `prefix` precedes the ids, `sentence` states what was taken for what."""

    prefix: str
    images: dict[str, Path]
    masks: dict[str, Path]
    sentence: str


def _sets(path: Path) -> Iterator[_Set]:
    """Images and masks of the data set, or of each of its parts."""
    parts = [entry for entry in sorted(path.iterdir()) if entry.is_dir() and part_named(entry.name)]
    for prefix, folder in [("", path), *((f"{entry.name}/", entry) for entry in parts)]:
        one = _folders(folder, prefix) or _beside(folder, prefix)
        if one is not None:
            yield one
            if not prefix:
                return


def _folders(path: Path, prefix: str) -> _Set | None:
    """One folder of images and one of masks, distinguished by their names, else by their content."""
    inside = [entry for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    listed = {entry.name: files(entry) for entry in inside if not part_named(entry.name) or prefix}
    listed = {name: listed_files for name, listed_files in listed.items() if listed_files}
    if len(listed) < 2:
        return None
    roles = {name: _role(name) for name in listed}
    masks = [name for name, role in roles.items() if role == "masks"]
    images = [name for name, role in roles.items() if role == "images"]
    how = "by their names"
    if len(masks) != 1 or len(images) != 1:
        content = {name: _are_masks(list(listed_files.values())) for name, listed_files in listed.items()}
        masks = [name for name in (masks or listed) if content[name]]
        images = [name for name in (images or listed) if not content[name]]
        how = "by their content"
    if len(masks) == 1 and len(images) > 1:
        images = [name for name in images if pairing.pair(listed[name], listed[masks[0]]) is not None]
    if len(masks) > 1 and len(images) == 1:
        raise DataError(
            f"{path} has several folders of masks: {', '.join(masks)}. Choose with the option pair, for example "
            f"pair={images[0]}/{{}}:{masks[0]}/{{}}."
        )
    if len(masks) != 1 or len(images) != 1:
        return None
    sentence = f"images in {prefix}{images[0]}/, masks in {prefix}{masks[0]}/, distinguished {how}"
    return _Set(prefix, listed[images[0]], listed[masks[0]], sentence)


def _beside(path: Path, prefix: str) -> _Set | None:
    """Images and masks in one folder: of one name with two suffixes, or with a word added to the name."""
    places = [path, *(folder for folder in (subfolder(path, *_IMAGE_WORDS),) if folder is not None)]
    for place in places:
        every = [file for file in sorted(place.iterdir()) if file.is_file() and file.suffix.lower() in SUFFIXES]
        every = [file for file in every if not file.name.startswith(".") and is_utf8(file.name)]
        for split in (_by_suffix, _by_word):
            images, masks, sentence = split(every)
            if images and masks:
                return _Set(prefix, images, masks, f"{sentence}, in {place.name}/")
    return None


def _by_suffix(every: Sequence[Path]) -> tuple[dict[str, Path], dict[str, Path], str]:
    """a.jpg is the image and a.png its mask."""
    suffixes = {file.suffix.lower() for file in every}
    by_suffix = {suffix: {plain(f.stem): f for f in every if f.suffix.lower() == suffix} for suffix in suffixes}
    for suffix in sorted(suffixes - set(_LOSSY)):
        masks = by_suffix[suffix]
        others = {stem: f for s, listed_files in by_suffix.items() if s != suffix for stem, f in listed_files.items()}
        if masks.keys() & others.keys() and _are_masks(list(masks.values())) and not _are_masks(list(others.values())):
            return others, masks, f"the {suffix[1:].upper()} files are the masks, by their content"
    return {}, {}, ""


def _by_word(every: Sequence[Path]) -> tuple[dict[str, Path], dict[str, Path], str]:
    """a.jpg is the image and a_GT.png its mask."""
    stems = {plain(file.stem): file for file in every}
    if len(stems) < len(every):
        return {}, {}, ""
    words: dict[tuple[str, str], list[str]] = {}
    for stem in stems:
        for match in re.finditer(r"[A-Za-z]+", stem):
            before, after = stem[: match.start()], stem[match.end() :]
            rest = (before.rstrip("_- .") + after) if not after or not before else before + after.lstrip("_- .")
            if rest in stems or (before.rstrip("_- .") or after.lstrip("_- .")) in stems:
                place = "end" if not after else "start" if not before else "middle"
                words.setdefault((match[0], place), []).append(stem)
    for (word, place), masks in sorted(words.items(), key=lambda item: -len(item[1])):
        if word.lower() in _MASK_WORDS or _are_masks([stems[stem] for stem in masks]):
            taken = {stem for stem in stems if stem in masks or _has_word(stem, word, place)}  # also without an image
            masks = sorted(taken, key=natural_key)
            images = {stem: file for stem, file in stems.items() if stem not in taken}
            if images and not _are_masks(list(images.values())):
                return images, {stem: stems[stem] for stem in masks}, f"files with {word!r} in their name are the masks"
    return {}, {}, ""


def _has_word(stem: str, word: str, place: str) -> bool:
    """Whether a name has a word at its start, its end, or in the middle."""
    if place == "start":
        return re.match(rf"{word}(?![A-Za-z])", stem) is not None
    if place == "end":
        return re.search(rf"(?<![A-Za-z]){word}$", stem) is not None
    return re.search(rf".(?<![A-Za-z]){word}(?![A-Za-z]).", stem) is not None


def _role(name: str) -> str | None:
    words = {word.lower() for word in re.findall(r"[A-Za-z]+", name)} | {name.lower()}
    words |= {word.lower() for word in re.findall(r"[A-Z]?[a-z]+", name)}
    return "masks" if words & _MASK_WORDS else "images" if words & _IMAGE_WORDS else None


def _are_masks(listed_files: Sequence[Path]) -> bool:
    """Whether files look like masks: few values, in regions; judged by a sample."""
    sampled = list(listed_files)[:: max(1, len(listed_files) // _LOOKED_AT)][:_LOOKED_AT]
    return bool(sampled) and all(_is_mask(file) for file in sampled)


def _is_mask(file: Path) -> bool:
    try:
        if header(file).mode in ("1", "P"):
            return True
        values = read_levels(file)
    except DataError:
        return False
    seen = inspect(values)
    if seen.kind in ("binary", "empty"):
        return True
    present, counts = np.unique(values, return_counts=True)
    if seen.kind == "soft":  # most pixels are at the two ends
        ends = (values <= 0.06 * seen.top) | (values >= 0.94 * seen.top)
        return float(ends.mean()) > 0.8
    largest = np.sort(counts)[::-1][: 1 + len(present) // 4].sum()
    return len(present) <= 64 or (header(file).mode.startswith("I") and largest > 0.5 * values.size)


def _account_others(path: Path, used: Iterable[Path]) -> None:
    """Count image files that are taken neither for an image nor for a mask."""
    taken = set(used)
    others = sorted((f for f in walk(path, _skipped) if f.suffix.lower() in SUFFIXES and f not in taken), key=_order)
    count_images(len(others))
    for file in others:
        leave_out_image(
            "file of no role", f"{file} is taken neither for an image nor for a mask (see the option pair)."
        )


def _skipped(suffix: str, kind: str, message: str) -> None:
    if suffix in SUFFIXES:
        count_images()
        leave_out_image(kind, message)


def _order(file: Path) -> tuple[tuple[int, int, str], ...]:
    return natural_key(PurePosixPath(file).as_posix())


__all__ = ["build", "matches"]
