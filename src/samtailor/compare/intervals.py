"""Means over seeds and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def seed_interval(values: Sequence[float]) -> tuple[float, float | None, list[float] | None]:
    """(mean, standard deviation, [low, high] of the 95 % interval of the mean by Student's t).

    The seeds differ in images, start, order and clicks, so the interval is about another draw of all of them. With
    one seed nothing can be said, and the last two are None.
    """
    values = np.asarray(values, np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, None, None
    deviation = float(values.std(ddof=1))
    half = (_T[len(values) - 2] if len(values) <= len(_T) + 1 else 1.96) * deviation / len(values) ** 0.5
    return mean, deviation, [mean - half, mean + half]


__all__ = ["seed_interval"]
