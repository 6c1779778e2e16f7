"""How many steps each fit of a contest gets, by the time that is left and the steps that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from samtailor.fitting.contest.budget import Budget
from samtailor.fitting.contest.candidates import Candidate

LEAST_STEPS = 10
SHORT = 0.2
"""Share of the steps of a complete fit in the first round, at most."""
_SHORT_SHARE = 0.3  # of the time left, for the first round
_MARGIN = 0.9  # of the time left that is planned
_UNKNOWN = 0.2  # seconds of a step, before any was measured
_COMPLETE = 1.5  # a step of a fit on all images, relative to one of a fold: the map has all of its members


@dataclass
class Schedule:
    """Steps of the fits of a contest.

    Args:
        budget: time that the contest may take; its `workers` work at the same time.
        folds: number of folds.
        most_steps: of any fit, by the settings.
    """

    budget: Budget
    folds: int
    most_steps: int
    _measured: dict[str, float] = field(default_factory=dict)

    def measure(self, candidate: Candidate, seconds: float) -> None:
        """Note the CPU seconds of a step."""
        self._measured[candidate.name] = max(self._measured.get(candidate.name, 0.0), seconds)

    def complete(self, candidate: Candidate) -> int:
        """Steps of a complete fit; those of the settings where they are fewer."""
        return max(1, min(candidate.steps, self.most_steps))

    def seconds(self, candidate: Candidate, steps: int = 1, *, fold: bool = True) -> float:
        """CPU seconds of a fit; before the candidate was fitted, by the slowest that is known."""
        each = self._measured.get(candidate.name) or max(self._measured.values(), default=_UNKNOWN)
        return each * steps * (1 if fold else _COMPLETE)

    @property
    def cpu_left(self) -> float:
        """CPU seconds that can be planned."""
        return _MARGIN * self.budget.left * self.budget.workers

    def first_round(self, candidates: Sequence[Candidate]) -> dict[Candidate, int]:
        """Steps of each candidate on each fold in the first round."""
        each = sum(self.seconds(one) for one in candidates) * self.folds
        time = max(LEAST_STEPS, int(_SHORT_SHARE * self.cpu_left / max(each, 1e-9)))
        return {one: max(1, min(round(SHORT * self.complete(one)), time)) for one in candidates}

    def last_round(self, kept: Sequence[Candidate]) -> dict[Candidate, int]:
        """The same in the last round, so that time is left for the fits on all images and for a forecast."""
        fits = [self.seconds(one, self.complete(one)) for one in kept]
        needed = self.folds * sum(fits) + 2 * max(fits, default=0.0)
        needed += sum(self.seconds(one, self.complete(one), fold=False) for one in kept[:2])
        share = min(1.0, self.cpu_left / max(needed, 1e-9))
        return {one: max(min(LEAST_STEPS, self.complete(one)), int(share * self.complete(one))) for one in kept}

    def final(self, candidate: Candidate, judged: int) -> int:
        """Steps on all images: a complete fit if there is time (one process fits it), at least those of its folds."""
        time = int(_MARGIN * self.budget.left / max(self.seconds(candidate, fold=False), 1e-9))
        return max(min(judged, self.complete(candidate)), min(self.complete(candidate), time))


__all__ = ["LEAST_STEPS", "Schedule"]
