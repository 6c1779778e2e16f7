"""Seeded selection of K images per class (shots), and the sort key of all seeded selections."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from samtailor.errors import DataError, InputError, counted
from samtailor.structures import Sample


def shuffle_key(seed: int | str, key: str) -> str:
    """Sort key that shuffles: a hash of seed and id.

    The order does not depend on the order of files or on a random number generator, and an additional image does not
    change the order of the others.
    """
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def shots(
    samples: Sequence[Sample],
    k: int,
    seed: int = 0,
    *,
    classes: Sequence[str] | None = None,
    groups: Mapping[str, str] | None = None,
) -> list[Sample]:
    """K images with a target of each class. Selections are nested: the first 4 of 8 shots are the 4 shots.

    Images of different groups come first, since neighboring frames of a video count as one example. An image with two
    of the classes counts for both. Annotations are read only until enough images are selected.

    Args:
        samples: images to choose from.
        k: images per class, at least 1.
        seed: random seed.
        classes: class names; None counts any target.
        groups: group of each id; None uses `Sample.group`.

    Raises:
        InputError: k is below 1.
        DataError: a class has fewer than k images.
    """
    if k < 1:
        raise InputError(f"The number of shots must be 1 or more, got {k}.")
    order = _shot_order(samples, seed, groups)
    picked = [_containing(order, k, label) for label in classes or (None,)]
    rounds = (sample for turn in zip(*picked, strict=True) for sample in turn)
    return list({sample.id: sample for sample in rounds}.values())


def _shot_order(samples: Sequence[Sample], seed: int, groups: Mapping[str, str] | None) -> list[Sample]:
    """One image of each group, then a second one, and so on; groups and images in the order of their hashes."""
    by_key: dict[str, list[Sample]] = {}
    for sample in samples:
        key = (groups or {}).get(sample.id) or sample.group or sample.id
        by_key.setdefault(key, []).append(sample)
    ranked = []
    for key, members in by_key.items():
        members.sort(key=lambda sample: shuffle_key(seed, sample.id))
        ranked += [(rank, shuffle_key(seed, key), sample) for rank, sample in enumerate(members)]
    return [sample for *_, sample in sorted(ranked, key=lambda entry: entry[:2])]


def _containing(order: Sequence[Sample], k: int, label: str | None) -> list[Sample]:
    selected: list[Sample] = []
    for sample in order:
        if sample.of(None if label is None else [label]):
            selected.append(sample)
            if len(selected) == k:
                return selected
    what = "a target" if label is None else f"an object of the class {label!r}"
    available = counted(len(order), "image")
    raise DataError(f"{counted(k, 'shot')} requested, but only {len(selected)} of {available} with {what}.")


__all__ = ["shots", "shuffle_key"]
