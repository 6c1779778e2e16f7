"""Candidates for the single objects of an image without a prompt, one per file.

Each file has two functions:

* `candidate(contest) -> InstanceCandidate | None`: None where it does not suit the contest.
* `checked(value) -> Mapping | None`: its entry in `decisions` of plan.json, under the name of the file.

The simplest one is kept unless another one is better by more than the standard error (`instance_comparison`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from samtailor.fitting.contest.objects import Masks
from samtailor.registry import find, names

if TYPE_CHECKING:
    from samtailor.fitting.contest.state import ContestState


class InstanceCandidate(Protocol):
    """One way to find the single objects of an image, in one contest.

    Attributes:
        name: of its file.
        title: for sentences and tables.
        rank: the lower one is chosen where two are equally good.
    """

    name: str
    title: str
    rank: int

    def reserve(self, left: float) -> float:
        """Plan its comparison before the rounds of the contest.

        Args:
            left: seconds of one process that the contest has left.

        Returns:
            seconds of one process that it needs; 0 if it needs none, or does not take part for lack of time, which is
            then in the notes of the plan.
        """

    def out_of_fold(self, left: float) -> Mapping[str, Masks]:
        """Variant to the objects in training images that the prediction has not learnt from, as in use; empty if it
        does not take part.

        Args:
            left: see `reserve`, after the rounds.
        """

    def decision(self, variant: str) -> dict[str, Any] | None:
        """Its entry in `decisions` of plan.json where it is chosen, from which `write` can be repeated."""

    def write(self, decision: Mapping[str, Any]) -> None:
        """Add what it has learnt from all images to the adapter in the folder of the contest."""


def all_instance_candidates(contest: ContestState) -> list[InstanceCandidate]:
    """Candidates that suit the contest, the simplest first."""
    made = [find("instances", name).candidate(contest) for name in names("instances")]
    return sorted((one for one in made if one is not None), key=lambda one: (one.rank, one.name))


__all__ = ["InstanceCandidate", "all_instance_candidates"]
