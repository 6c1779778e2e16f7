"""Seeded splits: which images train, which choose the best state, which are held out.

What belongs together stays on one side: images of one explicit group, and near-duplicates. The order in which
groups are dealt out comes from a hash of the seed and the group's first id (`shots.shuffle_key`): an image
added later moves few others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from samtailor.data.duplicates import near_duplicates as find_near_duplicates
from samtailor.data.listing import natural_key, read_json
from samtailor.data.shots import shots, shuffle_key
from samtailor.data.writing import write_json
from samtailor.errors import DataError, InputError, counted
from samtailor.structures import Sample
from samtailor.structures.disjoint_sets import DisjointSets

Amount = int | float | None
PARTS = ("train", "val", "test")
_TRIES = 32  # deals tried until every class is on every side

pick_shots = shots  # `split` has an argument of that name


@dataclass(frozen=True)
class Split:
    """Ids of the images of each part, each in natural order (`train` of a few-shot split: in the order picked).

    Args:
        train, val, test: ids; a part may be empty.
        unused: ids of no part (without a target, beyond the counts or the shots asked for).
        groups: ids that were kept together, groups of two and more only.
        seed: the seed it was made with.
        notices: what was not quite as asked for, in words.
    """

    train: tuple[str, ...]
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    seed: int = 0
    notices: tuple[str, ...] = ()

    def pick(self, samples: Iterable[Sample], part: str) -> list[Sample]:
        """The samples of a part ("train", "val", "test" or "unused"), in the part's order.

        Raises:
            InputError: an unknown part. DataError: an id of the part is not among the samples.
        """
        if part not in (*PARTS, "unused"):
            raise InputError(f"No part is called {part!r}. Parts: {', '.join(PARTS)}, unused.")
        ids, known = getattr(self, part), {sample.id: sample for sample in samples}
        missing = [id for id in ids if id not in known]
        if missing:
            which = f"{counted(len(missing), 'image')} of {part}"
            raise DataError(f"Not in the data set: {which}, the first is {missing[0]!r}.")
        return [known[id] for id in ids]

    def write(self, path: str | Path) -> None:
        """Write as JSON, at once."""
        write_json(Path(path), asdict(self))

    @classmethod
    def read(cls, path: str | Path) -> Split:
        """Read what `write` wrote.

        Raises:
            DataError: missing, not JSON, not a split, or an id in two parts.
        """
        value = read_json(Path(path))
        try:
            parts = {part: tuple(str(id) for id in value[part]) for part in (*PARTS, "unused")}
            groups = tuple(tuple(str(id) for id in group) for group in value["groups"])
            split = cls(**parts, groups=groups, seed=int(value["seed"]), notices=tuple(value["notices"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: not a split that samtailor wrote ({error!r}).") from error
        ids = [id for part in parts.values() for id in part]
        if len(ids) != len(set(ids)):
            raise DataError(f"{path}: an image is in two parts.")
        return split


def split(
    samples: Sequence[Sample],
    *,
    train: Amount = None,
    val: Amount = 0,
    test: Amount = 0.2,
    shots: int | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    near_duplicates: bool = True,
) -> Split:
    """Deal images out to train, val and test.

    Args:
        samples: the data set.
        train, val, test: an int counts images, a float is a share of them (0 to 1); at most one None takes the rest.
        shots: keep only this many training images (of each class; see `shots`), the rest of them unused.
        seed: another seed, another split.
        classes: split only the images that contain one of them, and see to it that each is on every side. Reads
            all annotations. None takes every image and looks at no class.
        near_duplicates: find near-duplicate images and keep them together. Reads all images, small.

    Raises:
        InputError: amounts that make no sense, or more images asked for than there are.
        DataError: a class without an image, or without one to train on; fewer images than shots; a part that
            stays empty because groups stay together.
    """
    ordered = sorted(samples, key=lambda sample: natural_key(sample.id))
    contents = {sample.id: frozenset(a.label for a in sample.of(classes)) for sample in ordered} if classes else {}
    usable = [sample for sample in ordered if not classes or contents[sample.id]]
    _refuse_missing(classes, contents)
    amounts = {"train": train, "val": val, "test": test}
    wanted = _counts(amounts, len(usable))
    rest = next((part for part in PARTS if amounts[part] is None), None)
    groups = group(usable, near_duplicates=near_duplicates)
    parts = _covering_deal(groups, wanted, rest, seed, classes or (), contents)
    notices = [*_off(parts, wanted, rest), *_uncovered(parts, classes or (), contents)]
    if shots is not None:
        pool = [sample for sample in usable if sample.id in set(parts["train"])]
        keys = {id: members[0] for members in groups for id in members}
        parts["train"] = [s.id for s in pick_shots(pool, shots, seed, classes=classes, groups=keys)]
    taken = {id for part in PARTS for id in parts[part]}
    return Split(
        **{part: tuple(parts[part]) for part in PARTS},
        unused=tuple(sample.id for sample in ordered if sample.id not in taken),
        groups=tuple(members for members in groups if len(members) > 1),
        seed=seed,
        notices=tuple(notices),
    )


def group(samples: Sequence[Sample], *, near_duplicates: bool = True) -> list[tuple[str, ...]]:
    """Ids that must stay together: explicit groups joined with near-duplicates; every id is in exactly one tuple."""
    sets = DisjointSets(len(samples))
    by_group: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        if sample.group is not None:
            by_group.setdefault(sample.group, []).append(i)
    pairs = [pair for members in by_group.values() for pair in pairwise(members)]
    for i, j in [*pairs, *(find_near_duplicates(samples) if near_duplicates else ())]:
        sets.union(i, j)
    joined = (sorted((samples[i].id for i in members), key=natural_key) for members in sets.groups())
    return sorted(map(tuple, joined), key=lambda ids: natural_key(ids[0]))


def _counts(amounts: Mapping[str, Amount], total: int) -> dict[str, int]:
    """Images of each part, None resolved."""
    counts: dict[str, int] = {}
    for part, amount in amounts.items():
        if amount is None:
            continue
        if isinstance(amount, bool) or amount < 0 or (isinstance(amount, float) and amount > 1):
            raise InputError(f"{part} must be a count (int from 0) or a share (float, 0.0 to 1.0), got {amount!r}.")
        counts[part] = amount if isinstance(amount, int) else round(amount * total)
    open_parts = [part for part in amounts if part not in counts]
    if len(open_parts) > 1:
        raise InputError(f"Only one part can take the rest, {' and '.join(open_parts)} have no amount.")
    left = total - sum(counts.values())
    if left < 0 or (open_parts and left == 0):
        asked = ", ".join(f"{part} {count}" for part, count in counts.items())
        rest = f", and {open_parts[0]} needs at least one" if open_parts else ""
        raise InputError(f"The data set has {counted(total, 'image')} to split, asked for: {asked}{rest}.")
    return counts | {part: left for part in open_parts}


def _covering_deal(
    groups: Sequence[tuple[str, ...]],
    wanted: Mapping[str, int],
    rest: str | None,
    seed: int,
    classes: Sequence[str],
    contents: Mapping[str, frozenset[str]],
) -> dict[str, list[str]]:
    """The first deal with every class on every side, or the one that misses fewest (in train least of all)."""
    best, least = {}, None
    for attempt in range(_TRIES if classes else 1):
        parts = _deal(groups, wanted, rest, seed if attempt == 0 else f"{seed}/{attempt}")
        gaps = [part for part in PARTS for _ in _gaps(parts[part], classes, contents)]
        cost = (gaps.count("train"), len(gaps))
        if least is None or cost < least:
            best, least = parts, cost
        if not gaps:
            break
    lacking = _gaps(best["train"], classes, contents)
    if lacking:
        raise DataError(f"No split leaves an image of {', '.join(lacking)} to train on: too few images or groups.")
    return best


def _deal(
    groups: Sequence[tuple[str, ...]], wanted: Mapping[str, int], rest: str | None, seed: int | str
) -> dict[str, list[str]]:
    """Fill test, val, train with whole groups as far as they fit; the part `rest` comes last and takes all others."""
    left = sorted(groups, key=lambda members: shuffle_key(seed, members[0]))
    parts: dict[str, list[str]] = {}
    for part in sorted(reversed(PARTS), key=lambda part: part == rest):
        taken: list[tuple[str, ...]] = []
        room = len(groups) * max(map(len, groups), default=0) if part == rest else wanted[part]
        for members in left:
            if len(members) <= room:
                taken.append(members)
                room -= len(members)
        if wanted[part] and not taken and left:  # every group is too large: better one too many than none
            taken = [min(left, key=len)]
        left = [members for members in left if members not in set(taken)]
        parts[part] = sorted((id for members in taken for id in members), key=natural_key)
    return parts


def _gaps(ids: Sequence[str], classes: Sequence[str], contents: Mapping[str, frozenset[str]]) -> list[str]:
    """Classes without an image in a part; an empty part is asked for nothing."""
    held = frozenset().union(*(contents[id] for id in ids)) if classes and ids else frozenset(classes)
    return [label for label in classes if label not in held]


def _refuse_missing(classes: Sequence[str] | None, contents: Mapping[str, frozenset[str]]) -> None:
    for label in classes or ():
        if not any(label in content for content in contents.values()):
            raise DataError(f"No image of the data set has an object of the class {label!r}.")


def _off(parts: Mapping[str, Sequence[str]], wanted: Mapping[str, int], rest: str | None) -> list[str]:
    empty = [part for part in PARTS if wanted[part] and not parts[part]]
    if empty:
        raise DataError(
            f"Nothing is left for {' and '.join(empty)}: images of one group, and near-duplicates, stay together, "
            "and there are too few groups. Ask for less, or group otherwise."
        )
    return [
        f"{part} has {counted(len(parts[part]), 'image')} instead of {wanted[part]}, because groups stay together."
        for part in PARTS
        if len(parts[part]) != wanted[part] and part != rest
    ]


def _uncovered(
    parts: Mapping[str, Sequence[str]], classes: Sequence[str], contents: Mapping[str, frozenset[str]]
) -> list[str]:
    return [
        f"{part} has no image of the class {label!r}: too few images or groups have it."
        for part in PARTS
        for label in _gaps(parts[part], classes, contents)
    ]


__all__ = ["Split", "group", "shots", "split"]
