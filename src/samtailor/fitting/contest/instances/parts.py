"""The connected parts of the region: objects that touch are one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samtailor.fitting.contest.objects import Masks, parts_of

if TYPE_CHECKING:
    from samtailor.fitting.contest.state import ContestState

_SMALLEST = 0.25  # of the smallest training object: see `InferenceSpec.min_area`


@dataclass
class Parts:
    """See `InstanceCandidate`. Nothing is learnt: the region of the contest is used."""

    contest: ContestState
    name: str = "parts"
    title: str = "parts of the region"
    complexity: int = 0

    def reserve(self, left: float) -> float:
        """No time: the predictions are those of the chosen region."""
        return 0.0

    def out_of_fold(self, left: float) -> Mapping[str, Masks]:
        """The parts of the chosen region in its variant, with its postprocessing."""
        region = self.contest.choice.region
        if region is None or not region.scores.masks:
            return {}
        return {"": parts_of(region, smallest_part(self.contest), self.contest.postprocess)}

    def decision(self, variant: str) -> None:
        """None: it is what an adapter does without an entry."""

    def write(self, decision: Mapping[str, Any]) -> None:
        """Nothing to write."""


def smallest_part(contest: ContestState) -> float:
    """Smallest area of a part as a share of the image: a quarter of the smallest training object."""
    objects = [one for sample in contest.train for one in sample.of(contest.classes)]
    return _SMALLEST * min(one.area / math.prod(one.rle["size"]) for one in objects)


def candidate(contest: ContestState) -> Parts:
    """Always takes part."""
    return Parts(contest)


def checked(value: object) -> None:
    """It has no entry."""


__all__ = ["Parts", "candidate", "checked", "smallest_part"]
