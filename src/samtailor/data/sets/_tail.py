"""Splits by file number: the last images of a data set are its test part, the first ones the pool of shots."""

from __future__ import annotations

from collections.abc import Sequence

from samtailor.data.notices import notice
from samtailor.errors import InputError
from samtailor.structures import Sample

PARTS = ("pool", "test")


def part_of(samples: Sequence[Sample], part: str | None, test: int | None, published: tuple[int, int]) -> list[Sample]:
    """Samples of one part.

    Args:
        samples: all, in the order of their numbers.
        part: "pool", "test", or None for all.
        test: images of the test part, the last ones; None: the paper's number, and in a copy with another number of
            images the paper's share, with a notice.
        published: (images of the test part, images in all) of the paper.

    Raises:
        InputError: an unknown part, or a test part that leaves no pool.
    """
    if part is not None and part not in PARTS:
        raise InputError(f"No part is called {part!r}. Parts: {', '.join(PARTS)}.")
    if part is None:
        return list(samples)
    count = _count(len(samples), test, published)
    return list(samples[: len(samples) - count] if part == "pool" else samples[len(samples) - count :])


def _count(total: int, test: int | None, published: tuple[int, int]) -> int:
    if test is None:
        test = published[0]
        if total != published[1]:
            test = max(1, round(total * published[0] / published[1]))
            notice(
                "another number of images",
                f"The data set has {total} images instead of {published[1]}: the last {test} instead of "
                f"{published[0]} are its test part. Give test=N for another number.",
            )
    if not 0 < test < total:
        raise InputError(f"test must lie between 1 and {total - 1}, one image less than there are; got {test}.")
    return test


__all__ = ["PARTS", "part_of"]
