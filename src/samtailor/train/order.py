"""The order in which a fit takes its masks: a stream of rows, a function of (seed, position) alone.

`Shuffled` is one shuffled epoch after another. `Blocked` is for sets whose embeddings do not fit in the cache: the
images are divided at random into parts that do fit, and each part is trained on for several passes before the next one
takes its place. Every image is encoded once per round of all parts, instead of about once per epoch.

Compared with plain shuffling, a round contains every mask as often as that many epochs, and each pass is shuffled, but
masks of different parts never share a batch within a round, and the last part of a round is seen later than the others.
The division into parts changes from round to round.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from samtailor.cache.bounded import BoundedCache
from samtailor.errors import InputError

_KEPT = 2  # permutations in memory: threads that prepare batches may be on both sides of the end of one


class Order(Protocol):
    """A stream of rows."""

    def row(self, position: int) -> int:
        """Row at a position of the stream, counted from 0."""
        ...

    def complete(self, positions: int) -> bool:
        """Whether the first positions are known to contain every row."""
        ...


class Shuffled:
    """Epochs, each with every row once.

    Args:
        rows: number of rows.
        seed: random seed.
    """

    def __init__(self, rows: int, seed: int) -> None:
        self._rows, self._seed = rows, seed
        self._epochs: BoundedCache[int, np.ndarray] = BoundedCache(_KEPT, thread_safe=True)

    def row(self, position: int) -> int:
        """Row at a position of the stream, counted from 0."""
        epoch, place = divmod(position, self._rows)
        if (order := self._epochs.get(epoch)) is None:
            order = self._epochs.put(epoch, np.random.default_rng([self._seed, 0, epoch]).permutation(self._rows))
        return int(order[place])

    def complete(self, positions: int) -> bool:
        """Whether the first positions are known to contain every row."""
        return positions >= self._rows


class Blocked:
    """Rounds, each with every row `passes` times: all passes over one part of the images, then those over the next.

    Args:
        images: image of each row, (rows,).
        seed: random seed.
        resident: largest number of images in a part.
        passes: passes over a part.

    Raises:
        InputError: `resident` or `passes` is below 1.
    """

    def __init__(self, images: np.ndarray, seed: int, resident: int, passes: int) -> None:
        if resident < 1 or passes < 1:
            raise InputError(f"resident and passes must be at least 1, got {resident} and {passes}.")
        self._images, self._seed, self.passes = images, seed, passes
        self._unique = np.unique(images)
        self.parts = -(-len(self._unique) // resident)
        self._rounds: BoundedCache[int, np.ndarray] = BoundedCache(_KEPT, thread_safe=True)

    def row(self, position: int) -> int:
        """Row at a position of the stream, counted from 0."""
        number, place = divmod(position, self.passes * len(self._images))
        if (order := self._rounds.get(number)) is None:
            order = self._rounds.put(number, self._round(number))
        return int(order[place])

    def complete(self, positions: int) -> bool:
        """Whether the first positions are known to contain every row."""
        return positions >= self.passes * len(self._images)

    def _round(self, number: int) -> np.ndarray:
        rng = np.random.default_rng([self._seed, 5, number])
        stream = []
        for part in np.array_split(rng.permutation(self._unique), self.parts):
            rows = np.flatnonzero(np.isin(self._images, part))
            stream += [rng.permutation(rows) for _ in range(self.passes)]
        return np.concatenate(stream)


__all__ = ["Blocked", "Order", "Shuffled"]
