"""Assign groups of images to the parts of a split, so that every part has every class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from samtailor.data.listing import natural_key
from samtailor.data.shots import shuffle_key
from samtailor.errors import DataError, InputError, counted

Amount = int | float | None
PARTS = ("train", "val", "test")
_TRIES = 32  # orders tried until every part has every class


def part_counts(amounts: Mapping[str, Amount], total: int) -> dict[str, int]:
    """Number of images of each part, with None resolved."""
    counts: dict[str, int] = {}
    for part, amount in amounts.items():
        if amount is None:
            continue
        if isinstance(amount, bool) or amount < 0 or (isinstance(amount, float) and amount > 1):
            raise InputError(f"{part} must be a count (int, at least 0) or a share (float in [0, 1]), got {amount!r}.")
        counts[part] = amount if isinstance(amount, int) else round(amount * total)
    open_parts = [part for part in amounts if part not in counts]
    if len(open_parts) > 1:
        raise InputError(f"Only one part can take the rest, but {' and '.join(open_parts)} have no amount.")
    left = total - sum(counts.values())
    if left < 0 or (open_parts and left == 0):
        requested = ", ".join(f"{part} {count}" for part, count in counts.items())
        rest = f", and {open_parts[0]} needs at least one" if open_parts else ""
        raise InputError(f"The data set has {counted(total, 'image')} to split, but requested are: {requested}{rest}.")
    return counts | {part: left for part in open_parts}


def covering_assignment(
    groups: Sequence[tuple[str, ...]],
    wanted: Mapping[str, int],
    rest: str | None,
    seed: int,
    classes: Sequence[str],
    contents: Mapping[str, frozenset[str]],
) -> dict[str, list[str]]:
    """The first assignment in which every part has every class, else the one that misses fewest (in train first)."""
    best: dict[str, list[str]] = {}
    least: tuple[int, int] | None = None
    for attempt in range(_TRIES if classes else 1):
        parts = _assigned(groups, wanted, rest, seed if attempt == 0 else f"{seed}/{attempt}")
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


def _assigned(
    groups: Sequence[tuple[str, ...]], wanted: Mapping[str, int], rest: str | None, seed: int | str
) -> dict[str, list[str]]:
    """Fill test, val and train with whole groups as far as they fit; the part `rest` is last and takes all others."""
    left = sorted(groups, key=lambda members: shuffle_key(seed, members[0]))
    parts: dict[str, list[str]] = {}
    for part in sorted(reversed(PARTS), key=lambda part: part == rest):
        taken: list[tuple[str, ...]] = []
        room = len(groups) * max(map(len, groups), default=0) if part == rest else wanted[part]
        for members in left:
            if len(members) <= room:
                taken.append(members)
                room -= len(members)
        if wanted[part] and not taken and left:  # every group is too large: exceed the count
            taken = [min(left, key=len)]
        left = [members for members in left if members not in set(taken)]
        parts[part] = sorted((id for members in taken for id in members), key=natural_key)
    return parts


def _gaps(ids: Sequence[str], classes: Sequence[str], contents: Mapping[str, frozenset[str]]) -> list[str]:
    """Classes without an image in a part; an empty part has no gaps."""
    covered = frozenset[str]().union(*(contents[id] for id in ids)) if classes and ids else frozenset(classes)
    return [label for label in classes if label not in covered]


def deviations(parts: Mapping[str, Sequence[str]], wanted: Mapping[str, int], rest: str | None) -> list[str]:
    """Sentences about parts that have not the number of images that was asked for.

    Raises:
        DataError: a part would be empty.
    """
    empty = [part for part in PARTS if wanted[part] and not parts[part]]
    if empty:
        raise DataError(
            f"Nothing is left for {' and '.join(empty)}: images of one group and near-duplicates stay together, and "
            "there are too few groups. Request fewer images, or use another group rule."
        )
    return [
        f"{part} has {counted(len(parts[part]), 'image')} instead of {wanted[part]}, because groups stay together."
        for part in PARTS
        if len(parts[part]) != wanted[part] and part != rest
    ]


def uncovered(
    parts: Mapping[str, Sequence[str]], classes: Sequence[str], contents: Mapping[str, frozenset[str]]
) -> list[str]:
    """Sentences about classes that have no image in a part."""
    return [
        f"{part} has no image of the class {label!r}: too few images or groups contain it."
        for part in PARTS
        for label in _gaps(parts[part], classes, contents)
    ]


__all__ = ["PARTS", "Amount", "covering_assignment", "deviations", "part_counts", "uncovered"]
