"""Pair images with masks whose names follow any pattern: the same name, an added word, another word, the same number.

Every rule is tried on all names. The one that pairs most images is taken; if two rules pair as many images, but
differently, the data set is refused, and the option `pair` decides.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from samtailor.data.image import SUFFIXES
from samtailor.data.listing import natural_key, plain, walk
from samtailor.errors import DataError, InputError, counted

MOST = 2000
"""Names that are compared with each other to discover an affix."""

Key = Callable[[str], str | None]


@dataclass(frozen=True)
class Pairing:
    """Masks by image.

    Args:
        masks: mask stems of each image stem, in natural order.
        rule: the pattern, for people ("mask name = image name + '_GT'").
        sure: whether every mask has an image and no other rule pairs as many images.
        classes: class names by mask stem, if the names of the masks end with them.
    """

    masks: Mapping[str, tuple[str, ...]]
    rule: str
    sure: bool
    classes: Mapping[str, str] = field(default_factory=dict)

    @property
    def used(self) -> int:
        """Number of masks that have an image."""
        return sum(map(len, self.masks.values()))

    def contains(self, other: Pairing) -> bool:
        """Whether all pairs of another pairing are pairs of this one."""
        return all(set(masks) <= set(self.masks.get(image, ())) for image, masks in other.masks.items())

    def sentence(self, images: int, masks: int) -> str:
        """The pattern and how sure it is."""
        share = f"{len(self.masks)} of {counted(images, 'image')} and "
        share += f"{self.used} of {counted(masks, 'mask')} paired"
        return f"{self.rule}; {share}, {'certain' if self.sure else 'likely'}"


def pair(images: Iterable[str], masks: Iterable[str]) -> Pairing | None:
    """Pair stems of images with stems of masks; None if no rule pairs any.

    Raises:
        DataError: two rules pair equally many images differently.
    """
    image_stems, mask_stems = sorted(images, key=natural_key), sorted(masks, key=natural_key)
    results: list[Pairing] = []
    for rule, image_key, mask_key in _rules(image_stems, mask_stems):
        pairs = _joined(image_stems, mask_stems, image_key, mask_key)
        if pairs:
            results.append(Pairing(pairs, rule, False))
    if not results:
        return None
    size = max((len(one.masks), one.used) for one in results)
    best = next(one for one in results if (len(one.masks), one.used) == size)
    complete = best.used == len(mask_stems)
    rivals = [one for one in results if len(one.masks) == size[0] and not best.contains(one)]
    if rivals and not (complete and best.rule == _SAME):
        raise DataError(
            f"Images and masks can be paired in two ways: {best.rule}, or {rivals[0].rule}. Choose with the option "
            "pair, for example pair=images/{}.jpg:masks/{}_mask.png."
        )
    classes = _class_words(best.masks) if best.rule == _WORDS else {}
    return Pairing(best.masks, best.rule, complete and best.rule != _NUMBERS, classes)


_SAME = "mask name = image name"
_NUMBERS = "the numbers in the names are the same"
_WORDS = "several masks of an image: image name, then a class"


def _rules(images: Sequence[str], masks: Sequence[str]) -> Iterable[tuple[str, Key, Key]]:
    """(sentence, key of an image, key of a mask): equal keys belong together. Simple rules first."""
    yield _SAME, str, str
    one = _affix(images, masks)
    if one is not None:
        yield f"mask name = {_quoted(one, 'image name')}", str, _without(*one)
    other = _affix(masks, images)
    if other is not None:
        yield f"image name = {_quoted(other, 'mask name')}", _without(*other), str
    yield f"{_SAME} without folder", _name, _name
    cores, mask_cores = _frame(images), _frame(masks)
    yield (
        f"{_quoted(cores, 'name', braces=True)} belongs to {_quoted(mask_cores, 'name', braces=True)}",
        _without(*cores),
        _without(*mask_cores),
    )
    yield "several masks of an image: image name, then a number", str, _numbered(frozenset(images))
    yield _WORDS, str, _worded(frozenset(images), masks)
    yield _NUMBERS, _numbers(images), _numbers(masks)


def _joined(images: Sequence[str], masks: Sequence[str], image_key: Key, mask_key: Key) -> dict[str, tuple[str, ...]]:
    """Masks of each image with the same key; empty if a key stands for two images."""
    by_key: dict[str, str] = {}
    for stem in images:
        key = image_key(stem)
        if key is None:
            continue
        if key in by_key:
            return {}
        by_key[key] = stem
    pairs: dict[str, list[str]] = defaultdict(list)
    for stem in masks:
        key = mask_key(stem)
        if key is not None and key in by_key:
            pairs[by_key[key]].append(stem)
    return {stem: tuple(pairs[stem]) for stem in images if stem in pairs}


def _affix(short: Sequence[str], long: Sequence[str]) -> tuple[str, str] | None:
    """The most common (prefix, suffix) that makes a name of `long` from one of `short`; None if there is none."""
    known = {PurePosixPath(stem).name for stem in short}
    counts: Counter[tuple[str, str]] = Counter()
    for stem in long[:MOST]:
        name = PurePosixPath(stem).name
        for start in range(len(name)):
            for end in range(len(name), start, -1):
                part = name[start:end]
                if part in known and part != name and _is_whole(name, start, end):
                    counts[name[:start], name[end:]] += 1
    return max(counts, key=lambda affix: (counts[affix], -len("".join(affix)))) if counts else None


def _is_whole(name: str, start: int, end: int) -> bool:
    """Whether a part of a name cuts no number: "1" is no part of "10"."""
    left = start == 0 or not (name[start - 1].isdigit() and name[start].isdigit())
    return left and (end == len(name) or not (name[end].isdigit() and name[end - 1].isdigit()))


def _without(prefix: str, suffix: str) -> Key:
    def key(stem: str) -> str | None:
        path = PurePosixPath(stem)
        name = path.name
        if not (name.startswith(prefix) and name.endswith(suffix) and len(name) > len(prefix) + len(suffix)):
            return None
        return path.with_name(name[len(prefix) : len(name) - len(suffix)]).as_posix()

    return key


def _name(stem: str) -> str:
    return PurePosixPath(stem).name


def _frame(stems: Sequence[str]) -> tuple[str, str]:
    """Prefix and suffix that all names share, without cutting a number."""
    names = [PurePosixPath(stem).name for stem in stems]
    prefix = _start(names)
    prefix = re.sub(r"\d+$", "", prefix)
    rest = [name[len(prefix) :][::-1] for name in names]
    suffix = re.sub(r"^\d+", "", _start(rest)[::-1])
    return prefix, suffix


def _start(names: Sequence[str]) -> str:
    """The characters that all names begin with."""
    first, last = min(names, default=""), max(names, default="")
    same = [one == other for one, other in zip(first, last, strict=False)]
    return first[: same.index(False) if False in same else len(same)]


def _numbered(images: frozenset[str]) -> Key:
    """Image of a mask that has its name and a number: "a_1" and "a-2" belong to "a"."""

    def key(stem: str) -> str | None:
        match = re.fullmatch(r"(.*?)[ _.-]+\(?\d+\)?", stem)
        return match[1] if match and match[1] in images and stem not in images else None

    return key


def _worded(images: frozenset[str], masks: Sequence[str]) -> Key:
    """Image of a mask that has its name and a class: "a_cat" and "a_dog" belong to "a".

    Words are classes if there are several, not all of one letter, and each is used with two images on average.
    """
    pairs = {stem: match for stem in masks if stem not in images and (match := _split_word(stem, images))}
    words = {word for _, word in pairs.values()}
    if len(words) < 2 or max(map(len, words)) < 2 or len(pairs) < 2 * len(words):
        return lambda stem: None
    return lambda stem: pairs[stem][0] if stem in pairs else None


def _split_word(stem: str, images: Collection[str]) -> tuple[str, str] | None:
    """(name of the image, class) of a mask; of several images, that with the longest name."""
    for match in reversed(list(re.finditer(r"[ _.-]+", stem))):
        image, word = stem[: match.start()], stem[match.end() :]
        if image in images and re.search(r"[^\W\d_]", word) and not re.search(r"\d", word):
            return image, word
    return None


def _class_words(masks: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Class by mask stem; a word that all classes begin with ("mask_") is no part of them."""
    words = {
        stem: found[1] for image, stems in masks.items() for stem in stems if (found := _split_word(stem, [image]))
    }
    start = re.match(r".*[ _.-]", _start(list(words.values())))
    cut = len(start[0]) if start else 0
    return {stem: word[cut:] for stem, word in words.items()}


def _numbers(stems: Sequence[str]) -> Key:
    """The numbers of a name that differ between names."""
    rows = [re.findall(r"\d+", PurePosixPath(stem).name) for stem in stems]
    width = max(map(len, rows), default=0)
    varying = [i for i in range(width) if len({row[i] for row in rows if len(row) > i}) > 1]

    def key(stem: str) -> str | None:
        numbers = re.findall(r"\d+", PurePosixPath(stem).name)
        chosen = [str(int(numbers[i])) for i in varying if i < len(numbers)]
        return "/".join(chosen) if chosen else None

    return key


def _quoted(affix: tuple[str, str], what: str, *, braces: bool = False) -> str:
    prefix, suffix = affix
    if braces:
        return f"'{prefix}{{}}{suffix}'"
    return " + ".join(part for part in (f"'{prefix}'" if prefix else "", what, f"'{suffix}'" if suffix else "") if part)


def by_template(root: Path, template: str) -> tuple[dict[str, Path], dict[str, list[Path]]]:
    """Image files and mask files by the text at {} of the option `pair`.

    Args:
        root: folder of the data set.
        template: "IMAGES:MASKS", two paths relative to `root`, each with {} once: images/{}.jpg:masks/{}_GT.png. The
            suffix may be left out. A * in the path of the masks stands for any text: several masks of an image.

    Raises:
        InputError: not such a text.
        DataError: no image, or no image with a mask.
    """
    sides = template.split(":")
    if len(sides) != 2 or any(side.count("{}") != 1 for side in sides):
        example = "images/{}.jpg:masks/{}_GT.png"
        raise InputError(f"pair must be IMAGES:MASKS, each with {{}} once, as in {example}; got {template!r}.")
    patterns = [_pattern(side.strip()) for side in sides]
    sets: list[dict[str, list[Path]]] = [defaultdict(list), defaultdict(list)]
    for file in walk(root):
        if file.suffix.lower() in SUFFIXES:
            place = plain(os.path.relpath(file, root))
            for pattern, files in zip(patterns, sets, strict=True):
                if match := pattern.fullmatch(place):
                    files[match["name"]].append(file)
    images, masks = sets
    twice = next((name for name, several in images.items() if len(several) > 1), None)
    if twice is not None:
        raise DataError(f"pair={template}: {images[twice][0]} and {images[twice][1]} are both the image {twice!r}.")
    if not images.keys() & masks.keys():
        numbers = f"{counted(len(images), 'image')}, {counted(len(masks), 'mask')}"
        raise DataError(f"pair={template} pairs no image ({numbers} match the two sides).")
    return {name: several[0] for name, several in images.items()}, dict(masks)


def _pattern(side: str) -> re.Pattern[str]:
    text = re.escape(side).replace(r"\{\}", "(?P<name>.+?)").replace(r"\*", "[^/]*")
    has_suffix = Path(side).suffix.lower() in SUFFIXES
    return re.compile(text if has_suffix else text + r"\.[A-Za-z]+")


__all__ = ["MOST", "Pairing", "by_template", "pair"]
