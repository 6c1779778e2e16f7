"""Learning curve over the number of shots, and its extrapolation by a power law.

Errors often follow a power law, 1 - Dice = a k^-b over k shots. Here one law per seed is fitted to as few points as
numbers of shots were tried, so the result is an extrapolation and is reported as such.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samtailor.compare.intervals import seed_interval

_MIN_ERROR = 1e-6  # the logarithm of 0 is not finite


def learning_curve(dice: Mapping[int, Mapping[str, float]]) -> dict[str, Any] | None:
    """Learning curve of one method.

    Args:
        dice: number of shots to seed to Dice in [0, 1]; the same seeds for all.

    Returns:
        None for fewer than two numbers of shots. `from`, `to`: the two largest; `gain`: Dice at the larger minus Dice
        at the smaller, with its interval over seeds (paired). With three numbers of shots also `law`: mean exponent b,
        `shots` (twice the largest), and the predicted `gain` up to there. Its interval over seeds does not cover the
        error of the law itself.
    """
    counts = sorted(dice)
    if len(counts) < 2:
        return None
    *_, before, last = counts
    gains = [dice[last][seed] - dice[before][seed] for seed in dice[last]]
    gain, _, interval = seed_interval(gains)
    curve: dict[str, Any] = {"from": before, "to": last, "gain": gain, "gain_interval": interval}
    if len(counts) >= 3:
        laws = [power_law(counts, [dice[count][seed] for count in counts]) for seed in dice[last]]
        expected, _, bounds = seed_interval([a * (last**-b - (2 * last) ** -b) for a, b in laws])
        exponent = seed_interval([b for _, b in laws])[0]
        curve["law"] = {"exponent": exponent, "shots": 2 * last, "gain": expected, "gain_interval": bounds}
    return curve


def power_law(shots: Sequence[int], dice: Sequence[float]) -> tuple[float, float]:
    """(a, b) of 1 - Dice = a k^-b, by least squares of the logarithms."""
    errors = [math.log(max(_MIN_ERROR, 1 - value)) for value in dice]
    slope, offset = np.polyfit(np.log(shots), errors, 1)
    return math.exp(offset), -float(slope)


def words(curve: Mapping[str, Any]) -> str:
    """The curve in one sentence, in percent points of Dice."""
    gain, interval = curve["gain"], curve["gain_interval"]
    step = f"From {curve['from']} to {curve['to']} masks Dice changed by {_points(gain, interval)}"
    if interval is None:
        step += " (one seed: no interval)"
    elif interval[0] <= 0 <= interval[1]:
        step += ", which is not distinguishable from no change"
    if "law" not in curve:
        return step + "."
    law = curve["law"]
    if law["exponent"] <= 0:
        return step + f"; the error does not fall over all shots, so there is no prediction for {law['shots']} masks."
    ahead = _points(law["gain"], law["gain_interval"])
    return step + f"; if the error continues to fall by a power law, {law['shots']} masks would change it by {ahead}."


def _points(value: float, interval: Sequence[float] | None) -> str:
    bounds = "" if interval is None else " [" + ", ".join(f"{100 * bound:+.1f}" for bound in interval) + "]"
    return f"{100 * value:+.1f}{bounds}"


__all__ = ["learning_curve", "power_law", "words"]
