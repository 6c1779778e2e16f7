"""What the next masks would bring: what the last doubling of the shots brought, and where a power law would lead.

A power law of the error, 1 - Dice = a k^-b over k shots, is how errors often fall; here it stands on as many points as
numbers of shots were tried, one law a seed. It is an extrapolation and says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samtailor.compare.intervals import seed_interval

_LEAST = 1e-6  # an error of 0 has no logarithm


def learning_curve(dice: Mapping[int, Mapping[str, float]]) -> dict[str, Any] | None:
    """For one method.

    Args:
        dice: number of shots to seed to Dice in [0, 1]; the same seeds for all.

    Returns:
        None for fewer than two numbers of shots. `from`, `to`: the two largest; `gain` with its interval over seeds
        (paired by seed): Dice at the larger minus Dice at the smaller. With three numbers of shots also `law`: mean
        exponent b, `shots` (twice the largest), and the `gain` that the laws give from the largest to there, with its
        interval over seeds, which knows nothing of whether the law holds.
    """
    counts = sorted(dice)
    if len(counts) < 2:
        return None
    *_, before, last = counts
    gains = [dice[last][seed] - dice[before][seed] for seed in dice[last]]
    gain, _, interval = seed_interval(gains)
    found: dict[str, Any] = {"from": before, "to": last, "gain": gain, "gain_interval": interval}
    if len(counts) >= 3:
        laws = [power_law(counts, [dice[count][seed] for count in counts]) for seed in dice[last]]
        expected, _, bounds = seed_interval([a * (last**-b - (2 * last) ** -b) for a, b in laws])
        exponent = seed_interval([b for _, b in laws])[0]
        found["law"] = {"exponent": exponent, "shots": 2 * last, "gain": expected, "gain_interval": bounds}
    return found


def power_law(shots: Sequence[int], dice: Sequence[float]) -> tuple[float, float]:
    """(a, b) of 1 - Dice = a k^-b, least squares in the logarithms."""
    errors = [math.log(max(_LEAST, 1 - value)) for value in dice]
    slope, offset = np.polyfit(np.log(shots), errors, 1)
    return math.exp(offset), -float(slope)


def words(found: Mapping[str, Any]) -> str:
    """In one sentence, percent points of Dice."""
    gain, interval = found["gain"], found["gain_interval"]
    step = f"From {found['from']} to {found['to']} masks Dice changed by {_points(gain, interval)}"
    if interval is None:
        step += " (one seed: no interval)"
    elif interval[0] <= 0 <= interval[1]:
        step += ", which cannot be told apart from no change"
    if "law" not in found:
        return step + "."
    law = found["law"]
    if law["exponent"] <= 0:
        return step + f"; over all numbers of shots the error does not fall, so nothing is promised for {law['shots']}."
    ahead = _points(law["gain"], law["gain_interval"])
    return step + f"; if the error goes on falling as it did (a power law), {law['shots']} would change it by {ahead}."


def _points(value: float, interval: Sequence[float] | None) -> str:
    bounds = "" if interval is None else " [" + ", ".join(f"{100 * bound:+.1f}" for bound in interval) + "]"
    return f"{100 * value:+.1f}{bounds}"


__all__ = ["learning_curve", "power_law", "words"]
