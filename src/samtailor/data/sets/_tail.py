"""Splits by file number: the last images are the test part, the first ones the pool for shots."""

from __future__ import annotations

from collections.abc import Sequence

from samtailor.data.notices import notice
from samtailor.errors import InputError
from samtailor.structures import Sample

PARTS = ("pool", "test")


def part_of(
    samples: Sequence[Sample], part: str | None, test: int | None, published: tuple[int, Sequence[int]]
) -> list[Sample]:
    """Samples of one part.

    Args:
        samples: all samples, in the order of their numbers.
        part: "pool", "test", or None for all.
        test: number of test images. None is the number of the paper, or its share, with a notice, in a copy with
            another number of images.
        published: (test images of the paper, numbers of images that the set is published with).

    Raises:
        InputError: an unknown part, or a test part that leaves no pool.
    """
    if part is not None and part not in PARTS:
        raise InputError(f"No part is called {part!r}. Parts: {', '.join(PARTS)}.")
    if part is None:
        return list(samples)
    count = _count(len(samples), test, published)
    return list(samples[: len(samples) - count] if part == "pool" else samples[len(samples) - count :])


def _count(total: int, test: int | None, published: tuple[int, Sequence[int]]) -> int:
    if test is None:
        test, totals = published
        if total not in totals:
            test = max(1, round(total * test / totals[0]))
            notice(
                "another number of images",
                f"The data set has {total} images instead of {' or '.join(map(str, totals))}, so the last {test} "
                f"instead of {published[0]} are the test part. Use test=N for another number.",
            )
    if not 0 < test < total:
        raise InputError(f"test must be between 1 and {total - 1} (one less than all images), got {test}.")
    return test


__all__ = ["PARTS", "part_of"]
