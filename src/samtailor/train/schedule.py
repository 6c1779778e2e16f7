"""Learning-rate schedules of fits and baselines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Kind = Literal["step", "cosine", "constant", "poly"]


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up from 0, then one of four courses of the learning rate.

    Args:
        kind: "step" multiplies by `gamma` at each milestone, "cosine" is half a cosine down to 0, "poly" is
            (1 - share of the steps done) ** `power`, "constant" keeps the peak.
        warmup: steps of the warm-up.
        milestones: shares of all steps, in (0, 1].
        gamma: factor at each milestone.
        power: exponent of "poly".
    """

    kind: Kind
    warmup: int = 0
    milestones: Sequence[float | Fraction] = ()
    gamma: float = 0.1
    power: float = 0.9

    def rate(self, peak: float, step: int, steps: int) -> float:
        """Learning rate of a step.

        Args:
            peak: learning rate after the warm-up.
            step: number of the step, from 0.
            steps: number of all steps, the warm-up included.
        """
        if step < self.warmup:
            return peak * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, steps - self.warmup)
        if self.kind == "poly":
            return peak * (1 - done) ** self.power
        if self.kind == "cosine":
            return peak * 0.5 * (1 + math.cos(math.pi * done))
        if self.kind == "step":
            return peak * self.gamma ** sum(step >= int(share * steps) for share in self.milestones)
        return peak


POLY = Schedule("poly")
"""(1 - step / steps) ** 0.9."""
THIRDS = Schedule("step", milestones=(Fraction(1, 3), Fraction(2, 3)))
"""Divided by ten after each third of the steps."""
CONSTANT = Schedule("constant")
"""The peak at every step."""

__all__ = ["CONSTANT", "POLY", "THIRDS", "Kind", "Schedule"]
