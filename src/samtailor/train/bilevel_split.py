"""D1 and D2: the halves of the training images for the two levels of a bi-level fit."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import numpy as np

_log = logging.getLogger("samtailor.fitting")


def bilevel_split(
    ids: Sequence[str], seed: int, groups: Iterable[Sequence[str]] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Shuffle images by a seed and split them in halves; with an odd number D1 gets one more.

    The split does not depend on the order of the ids. Images of one group (near-duplicates, one patient) are adjacent
    before the cut, so that at most one group has images in both halves.

    Args:
        ids: ids of the training images. A single image is used for both halves, with a warning.
        seed: seed of the fit.
        groups: ids that belong together.
    """
    rng = np.random.default_rng([seed, 5])
    group_of = {id: sorted(members)[0] for members in groups for id in members}
    by_group: dict[str, list[str]] = {}
    for id in sorted(ids):
        by_group.setdefault(group_of.get(id, id), []).append(id)
    shuffled = [id for index in rng.permutation(len(by_group)) for id in list(by_group.values())[index]]
    if len(shuffled) < 2:
        _log.warning("A single training image cannot be split in halves: both levels learn from it.")
        return tuple(shuffled), tuple(shuffled)
    cut = -(-len(shuffled) // 2)
    return tuple(shuffled[:cut]), tuple(shuffled[cut:])


def second_seed(seed: int) -> int:
    """Seed of the order, views and clicks of a second feed, independent of those of the first."""
    return int(np.random.SeedSequence([seed, 6]).generate_state(1)[0])


__all__ = ["bilevel_split", "second_seed"]
