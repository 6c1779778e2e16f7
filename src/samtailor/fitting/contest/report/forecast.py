"""What more masks would bring, from out-of-fold scores of fits on two numbers of masks.

Errors often follow a power law, 1 - score = a k^-b over k masks. Two numbers of masks that are close together determine
the exponent badly, so it is combined with a prior: the mean and spread of exponents over data sets. Which images are
marked matters too, for the fits that were measured and for the one to come (docs/research/tailor.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PRIOR, SPREAD = 0.15, 0.15
"""Mean and standard deviation of the exponent over data sets."""
NOISE = 0.06
"""Standard deviation, between draws of images, of the logarithm of the ratio of two errors."""
MORE = (8, 16)
TRUSTED = 0.02
"""A forecast is given if it is expected to be as close as that in four of five cases."""
_FOUR_OF_FIVE = 1.2816  # standard errors
_DRAWS = 400
_LEAST_ERROR = 1e-3


@dataclass(frozen=True)
class Forecast:
    """What more masks would bring.

    Args:
        masks: additional ones.
        gain: expected gain of the score, in [0, 1].
        error: its standard error.
    """

    masks: int
    gain: float
    error: float

    @property
    def trusted(self) -> bool:
        """Whether it is accurate enough to be given."""
        return self.error * _FOUR_OF_FIVE <= TRUSTED

    @property
    def likely(self) -> bool:
        """Whether a gain is expected in nine of ten cases, whatever its size."""
        return self.error * _FOUR_OF_FIVE <= self.gain

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"masks": self.masks, "gain": self.gain, "error": self.error}


def forecasts(
    fewer: Mapping[str, float], more: Mapping[str, float], sizes: tuple[float, float], present: int, *, seed: int = 0
) -> list[Forecast]:
    """Forecasts for `MORE` additional masks; empty with fewer than four images that have both scores.

    Args:
        fewer, more: image to its out-of-fold score by fits on fewer and on more images, in [0, 1].
        sizes: number of images of these fits.
        present: number of images of the final adapter.
        seed: of the bootstrap over images.
    """
    images = [id for id in more if id in fewer]
    if len(images) < 4 or not 0 < sizes[0] < sizes[1]:
        return []
    pairs = 1 - np.array([[fewer[id], more[id]] for id in images])
    rng = np.random.default_rng([seed, 8])
    rows = rng.integers(len(images), size=(_DRAWS, len(images)))
    drawn = np.maximum(pairs[rows].mean(axis=1), _LEAST_ERROR)
    ratio = math.log(sizes[1] / sizes[0])
    exponents = (np.log(drawn[:, 0]) - np.log(drawn[:, 1])) / ratio
    means = np.maximum(pairs.mean(axis=0), _LEAST_ERROR)
    measured = float((math.log(means[0]) - math.log(means[1])) / ratio)
    exponent, spread = combined(measured, math.hypot(float(exponents.std()), NOISE / ratio))
    grown = (sizes[1] / present) ** exponent
    level, unsure = float(means[1]) * grown, float(drawn[:, 1].std()) * grown
    return [Forecast(extra, *_gain(level, unsure, exponent, spread, present, extra)) for extra in MORE]


def combined(measured: float, error: float) -> tuple[float, float]:
    """Mean and standard deviation of an exponent after a measurement with a standard error."""
    weight, prior = 1 / max(error, 1e-6) ** 2, 1 / SPREAD**2
    mean = (measured * weight + PRIOR * prior) / (weight + prior)
    return max(mean, 0.0), (weight + prior) ** -0.5


def _gain(level: float, unsure: float, exponent: float, spread: float, present: int, extra: int) -> tuple[float, float]:
    """Gain of the score and its standard error, by the derivatives with respect to exponent and present error, and by
    the noise of the images to come.

    Args:
        level, unsure: present error, 1 - score, and its standard error.
        exponent, spread: of the power law, and its standard error.
        present, extra: number of masks.
    """
    shrunk = (present / (present + extra)) ** exponent
    slope = level * shrunk * math.log((present + extra) / present)
    return level * (1 - shrunk), math.hypot(slope * spread, (1 - shrunk) * unsure, level * shrunk * NOISE)


def words(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    """One sentence about the forecasts that can be trusted, in percent points, and about those that cannot."""
    known = [Forecast(row["masks"], row["gain"], row["error"]) for row in rows]
    parts = [f"{one.masks} more masks {100 * one.gain:+.1f} ± {100 * one.error:.1f}" for one in known if one.trusted]
    unsure = [one for one in known if not one.trusted]
    text = f"Expected gain in {metric}: {', '.join(parts)} (extrapolated from fits on fewer masks)." if parts else ""
    if unsure:
        named = " and ".join(str(one.masks) for one in unsure)
        gain = "A gain is likely all the same." if all(one.likely for one in unsure) else ""
        text += (
            f"{' ' if text else ''}No forecast of {metric} for {named} more masks: its standard error would be "
            f"{100 * max(one.error for one in unsure):.1f} points."
        )
        text += f" {gain}" if gain else ""
    return text


__all__ = ["MORE", "TRUSTED", "Forecast", "combined", "forecasts", "words"]
