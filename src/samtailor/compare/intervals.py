"""Means over seeds with intervals."""

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
    """Mean, standard deviation and 95 % interval [low, high] of the mean by Student's t.

    Seeds differ in images, initialization, order and clicks, so the interval covers another draw of all of them. With
    one seed the last two are None.
    """
    array = np.asarray(values, np.float64)
    mean = float(array.mean())
    if len(array) < 2:
        return mean, None, None
    deviation = float(array.std(ddof=1))
    half = (_T[len(array) - 2] if len(array) <= len(_T) + 1 else 1.96) * deviation / len(array) ** 0.5
    return mean, deviation, [mean - half, mean + half]


__all__ = ["seed_interval"]
