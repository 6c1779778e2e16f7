"""Seeded shots: K images of each class; and the dice that every seeded choice of images is made with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from samtailor.errors import DataError, InputError, counted
from samtailor.structures import Sample


def shuffle_key(seed: int | str, key: str) -> str:
    """Sort key that shuffles: a hash of seed and id.

    The order depends neither on the one the files are listed in nor on a random number generator, and an image added
    later moves no other.
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
    """K images that contain a target, for each of the classes; the first 4 of 8 shots are the 4 shots.

    Images of different groups come first (neighboring frames of one video are one example, not several). An image
    with two of the classes counts for both. Reads annotations only until it has enough.

    Args:
        samples: images to choose from.
        k: images a class, from 1.
        seed: another seed, other images.
        classes: class names; None: any target counts.
        groups: group by id; None takes `Sample.group`.

    Raises:
        InputError: k below 1. DataError: a class has fewer images than k.
    """
    if k < 1:
        raise InputError(f"The number of shots must be 1 or more, got {k}.")
    deal = _shot_order(samples, seed, groups)
    picked = [_containing(deal, k, label) for label in classes or (None,)]
    rounds = (sample for turn in zip(*picked, strict=True) for sample in turn)
    return list({sample.id: sample for sample in rounds}.values())


def _shot_order(samples: Sequence[Sample], seed: int, groups: Mapping[str, str] | None) -> list[Sample]:
    """One image of every group, then a second one, ...; groups and images in the order of their hashes."""
    by_key: dict[str, list[Sample]] = {}
    for sample in samples:
        key = (groups or {}).get(sample.id) or sample.group or sample.id
        by_key.setdefault(key, []).append(sample)
    ranked = []
    for key, members in by_key.items():
        members.sort(key=lambda sample: shuffle_key(seed, sample.id))
        ranked += [(rank, shuffle_key(seed, key), sample) for rank, sample in enumerate(members)]
    return [sample for *_, sample in sorted(ranked, key=lambda entry: entry[:2])]


def _containing(deal: Sequence[Sample], k: int, label: str | None) -> list[Sample]:
    found: list[Sample] = []
    for sample in deal:
        if sample.of(None if label is None else [label]):
            found.append(sample)
            if len(found) == k:
                return found
    what = "a target" if label is None else f"an object of the class {label!r}"
    asked, have = counted(k, "shot"), counted(len(deal), "image")
    raise DataError(f"{asked} asked for, but only {len(found)} of {have} with {what}.")


__all__ = ["shots", "shuffle_key"]
