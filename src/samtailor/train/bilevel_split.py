"""D1 and D2: the two halves of the training images that the levels of a bi-level fit learn on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import numpy as np

_log = logging.getLogger("samtailor.fitting")


def bilevel_split(
    ids: Sequence[str], seed: int, groups: Iterable[Sequence[str]] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Deal images out by a seed; of an odd number D1 gets one more.

    Independent of the order of the ids. Images of one group (near-duplicates, one patient) stand next to each other
    before the cut, so that at most one group has images on both sides.

    Args:
        ids: of the training images. A single one is both halves, with a warning.
        seed: of the fit.
        groups: ids that belong together.
    """
    order = np.random.default_rng([seed, 5])
    group_of = {id: sorted(members)[0] for members in groups for id in members}
    by_group: dict[str, list[str]] = {}
    for id in sorted(ids):
        by_group.setdefault(group_of.get(id, id), []).append(id)
    dealt = [id for index in order.permutation(len(by_group)) for id in list(by_group.values())[index]]
    if len(dealt) < 2:
        _log.warning("One training image cannot be halved: both levels learn from it.")
        return tuple(dealt), tuple(dealt)
    cut = -(-len(dealt) // 2)
    return tuple(dealt[:cut]), tuple(dealt[cut:])


def second_seed(seed: int) -> int:
    """Seed of D2's order, views and clicks, unrelated to D1's."""
    return int(np.random.SeedSequence([seed, 6]).generate_state(1)[0])


__all__ = ["bilevel_split", "second_seed"]
