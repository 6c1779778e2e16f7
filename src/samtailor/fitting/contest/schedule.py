"""How many steps each fit of a contest gets, by the time that is left and the times that were measured. All times are
those of one process by the clock of the budget.

The parts of an adapter, the region map and the prompt adapter, share the time that is left equally; what one of them
does not need, the other one gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil

from samtailor.fitting.contest.budget import Budget
from samtailor.fitting.contest.candidates import Candidate

LEAST_STEPS = 10
SHORT = 0.2
"""Share of the steps of a complete fit in the first round, at most."""
LONGER = 1.5
"""A round with fewer times the steps of the last one is not worth its time."""
_SHORT_SHARE = 0.3  # of the time left, for the first round
_MARGIN = 0.9  # of the time left that is planned
_UNKNOWN = 0.2  # seconds of a step, before any was measured
_COMPLETE = 1.5  # a step of a map on all images, relative to one of a fold: the map has all of its members
_FINAL = 2.0  # steps of a fit on all images, relative to those of a fold, that time is kept for
_FORECAST = 2  # fits of the forecast
_LONGEST = 2  # steps of a region map on all images, where there is time, relative to a complete fit


@dataclass
class _Measured:
    """Seconds of the fits of a candidate so far."""

    steps: int = 0
    training: float = 0.0
    fits: int = 0
    other: float = 0.0

    @property
    def each(self) -> float:
        """Of a step."""
        return self.training / self.steps

    @property
    def besides(self) -> float:
        """Of a fit without its steps: to begin, and to score."""
        return self.other / max(self.fits, 1)


@dataclass
class Schedule:
    """Steps of the fits of a contest.

    Args:
        budget: time that the contest may take; its `workers` work at the same time.
        folds: number of folds.
        most_steps: of any fit, by the settings.
        reserve: seconds of one process that are kept for the comparison of single objects.
    """

    budget: Budget
    folds: int
    most_steps: int
    reserve: float = 0.0
    _measured: dict[str, _Measured] = field(default_factory=dict)

    def measure(self, candidate: Candidate, steps: int, step_seconds: float, seconds: float | None) -> None:
        """Note the seconds of the steps of a fit, and of the fit with its scores (None where it has none)."""
        known = self._measured.setdefault(candidate.name, _Measured())
        known.steps, known.training = known.steps + steps, known.training + steps * step_seconds
        if seconds is not None:
            known.fits, known.other = known.fits + 1, known.other + max(0.0, seconds - steps * step_seconds)

    @property
    def step_seconds(self) -> dict[str, float]:
        """Seconds of a step by candidate, as measured."""
        return {name: round(one.each, 4) for name, one in self._measured.items()}

    def complete(self, candidate: Candidate) -> int:
        """Steps of a complete fit; those of the settings where they are fewer."""
        return max(1, min(candidate.steps, self.most_steps))

    def longest(self, candidate: Candidate) -> int:
        """Steps of a region map on all images, at most: more than a complete fit where there is time."""
        complete = self.complete(candidate)
        return complete if candidate.steps == 1 else max(complete, min(_LONGEST * candidate.steps, self.most_steps))

    def seconds(self, candidate: Candidate, steps: float = 1, *, fold: bool = True) -> float:
        """Seconds of the steps of a fit; before the candidate was fitted, by the slowest that is known."""
        known = self._measured.get(candidate.name)
        each = max((one.each for one in self._measured.values()), default=0.0) if known is None else known.each
        return (each or _UNKNOWN) * steps * (1 if fold or not candidate.fold_options else _COMPLETE)

    def besides(self, candidate: Candidate) -> float:
        """Seconds of a fit without its steps."""
        known = self._measured.get(candidate.name)
        return 0.0 if known is None else known.besides

    @property
    def process_left(self) -> float:
        """Seconds that can be planned."""
        return max(0.0, _MARGIN * self.budget.left * self.budget.workers - self.reserve)

    def first_round(self, candidates: Sequence[Candidate]) -> dict[Candidate, int]:
        """Steps of each candidate on each fold in the first round."""
        each = sum(self.seconds(one) for one in candidates) * self.folds
        time = max(LEAST_STEPS, int(_SHORT_SHARE * self.process_left / max(each, 1e-9)))
        return {one: max(1, min(round(SHORT * self.complete(one)), time)) for one in candidates}

    def second_round(self, kept: Sequence[Candidate]) -> dict[Candidate, int]:
        """The same in the second round, so that time is left for the fits on all images and for a forecast."""
        parts = [part for part in (_regions(kept), _prompts(kept)) if part]
        times = fair([self._needed(part, 1.0) for part in parts], self.process_left)
        shares = {one: self._share(part, time) for part, time in zip(parts, times, strict=True) for one in part}
        return {one: max(min(LEAST_STEPS, self.complete(one)), int(share * self.complete(one) + 1e-6))
                for one, share in shares.items()}  # fmt: skip

    def further_round(self, candidate: Candidate, others: Sequence[Candidate]) -> int:
        """Steps of one more round of a candidate alone, so that time is left for the fits on all images.

        Args:
            candidate: to be fitted on all folds.
            others: whose complete fits on all images follow.
        """
        time = self.process_left - sum(self.seconds(one, self.complete(one), fold=False) for one in others)
        turns = ceil(self.folds / self.budget.workers) * self.budget.workers  # a process without a fold waits
        complete = self.complete(candidate)
        steps = (time - turns * self.besides(candidate)) / max(
            turns * self.seconds(candidate) + _FINAL * self.seconds(candidate, fold=False), 1e-9
        )
        if steps * _FINAL > complete:  # the fit on all images does not become longer than that
            time -= turns * self.besides(candidate) + self.seconds(candidate, complete, fold=False)
            steps = time / max(turns * self.seconds(candidate), 1e-9)
        return max(0, min(complete, int(steps)))

    def forecast(self, candidate: Candidate, steps: int) -> float:
        """Seconds of the fits of a forecast."""
        return _FORECAST * (self.seconds(candidate, steps) + self.besides(candidate))

    def final(self, judged: Mapping[Candidate, tuple[int, int]], reserve: float = 0.0) -> dict[Candidate, int]:
        """Steps on all images, as many as there is time for.

        Args:
            judged: by candidate, the steps of its folds, which are the least, and the most that may help.
            reserve: seconds that are kept for a forecast.
        """
        most = {one: max(least, limit) for one, (least, limit) in judged.items()}
        wanted = [self.seconds(one, steps, fold=False) for one, steps in most.items()]
        left = max(0.0, _MARGIN * self.budget.left - reserve / self.budget.workers)
        times = [left] * len(wanted) if self.budget.workers > 1 else fair(wanted, left)  # one process fits one of them
        return {
            one: max(judged[one][0], min(most[one], int(time / max(self.seconds(one, fold=False), 1e-9))))
            for one, time in zip(most, times, strict=True)
        }

    def _needed(self, part: Sequence[Candidate], share: float) -> float:
        """Seconds of a round of a part of the adapter and of what follows it.

        Args:
            part: its candidates.
            share: of the steps of complete fits on the folds.
        """
        slowest = max(part, key=lambda one: self.seconds(one, self.complete(one)))
        fits = {one: self.folds + (_FORECAST if one is slowest and "region" in one.ways else 0) for one in part}
        folds = sum(
            count * (self.seconds(one, share * self.complete(one)) + self.besides(one)) for one, count in fits.items()
        )
        return folds + self.seconds(slowest, min(1.0, _FINAL * share) * self.complete(slowest), fold=False)

    def _share(self, part: Sequence[Candidate], time: float) -> float:
        """The largest share of complete fits that a time is enough for; the time is piecewise linear in it."""
        corners = [(share, self._needed(part, share)) for share in (0.0, 1 / _FINAL, 1.0)]
        for (low, before), (high, after) in pairwise(corners):
            if time < after:
                return max(0.0, low + (high - low) * (time - before) / max(after - before, 1e-9))
        return 1.0


def fair(needs: Sequence[float], time: float) -> list[float]:
    """Time of each of several needs: equal shares, and what one does not need goes to the others."""
    given = [0.0] * len(needs)
    ordered = sorted(range(len(needs)), key=lambda index: needs[index])
    for turn, index in enumerate(ordered):
        given[index] = min(needs[index], time / (len(needs) - turn))
        time -= given[index]
    return given


def _regions(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [one for one in candidates if "region" in one.ways]


def _prompts(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [one for one in candidates if "region" not in one.ways]


__all__ = ["LEAST_STEPS", "LONGER", "Schedule", "fair"]
