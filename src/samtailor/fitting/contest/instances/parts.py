"""The connected parts of the region, or the whole region where every image has one object.

Those of a low score may be left out; so images without an object stay without a mask. The threshold of a fold is
selected on the other folds (`objects.cross_fitted`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.errors import InputError
from samtailor.fitting.contest.objects import Masks, cross_fitted, kept, parts_of

if TYPE_CHECKING:
    from samtailor.fitting.contest.state import ContestState

_SMALLEST = 0.25  # of the smallest training object: see `InferenceSpec.min_area`
_ALL, _CERTAIN = "", "certain"


@dataclass
class Parts:
    """See `InstanceCandidate`. Nothing is learnt but a threshold: the region of the contest is used.

    Attributes:
        threshold: of all images, see `objects.cross_fitted`.
    """

    contest: ContestState
    name: str = "parts"
    title: str = "parts of the region"
    rank: int = 0
    threshold: float = 0.0

    def reserve(self, left: float) -> float:
        """No time: the predictions are those of the chosen region."""
        return 0.0

    def out_of_fold(self, left: float) -> Mapping[str, Masks]:
        """The parts of the chosen region in its variant, with its postprocessing: all, and those above a threshold."""
        contest, region = self.contest, self.contest.choice.region
        if region is None or not region.scores.masks:
            return {}
        single = contest.data.most_objects < 2
        parts = parts_of(region, smallest_part(contest), contest.postprocess, whole=single)
        empty = [[one.id for one in some] for some in contest.negatives]
        truths = {sample.id: [one.rle for one in sample.of(contest.classes)] for sample in contest.train}
        truths |= {id: [] for some in empty for id in some}
        folds = [
            {id: parts[id] for id in (*fold, *some) if id in parts}
            for fold, some in zip(contest.folds, empty, strict=True)
        ]
        certain, self.threshold = cross_fitted(folds, truths)
        every = {id: kept(rows, 0.0) for id, rows in parts.items()}
        return {_ALL: every, _CERTAIN: certain}

    def decision(self, variant: str) -> dict[str, Any] | None:
        """The threshold; None for all parts, which is what an adapter does without an entry."""
        return {"threshold": self.threshold} if variant == _CERTAIN and self.threshold > 0 else None

    def write(self, decision: Mapping[str, Any]) -> None:
        """Write the threshold into the adapter."""
        out = self.contest.out
        inference = artefact.read_meta(out).inference
        artefact.update(out, inference=replace(inference, part_threshold=decision["threshold"]))


def smallest_part(contest: ContestState) -> float:
    """Smallest area of a part as a share of the image: a quarter of the smallest training object."""
    objects = [one for sample in contest.train for one in sample.of(contest.classes)]
    return _SMALLEST * min(one.area / math.prod(one.rle["size"]) for one in objects)


def candidate(contest: ContestState) -> Parts:
    """Always takes part."""
    return Parts(contest)


def checked(value: Any) -> Mapping[str, Any] | None:
    """The entry "parts" in the decisions of a plan: None, or the threshold.

    Raises:
        InputError: another value.
    """
    if value is None:
        return None
    least = value.get("threshold") if isinstance(value, Mapping) else None
    if isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least <= 1:
        raise InputError(f"plan, decisions.parts: expected null, or threshold (0 to 1), got {value!r:.150}.")
    return value


__all__ = ["Parts", "candidate", "checked", "smallest_part"]
