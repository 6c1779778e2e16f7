"""What the values of a mask mean: two levels, soft edges, or numbers of objects or classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_HIGH = 0.45
"""A soft mask reaches at least this share of the range of its type (or of 1): half of it is the threshold."""
_PLATEAU = 0.2
"""Largest share of the intermediate pixels of a soft mask whose neighbors all have the same value."""
_LEVELS = 64
"""A continuous map has at least so many levels; neighbors differ by small steps."""


@dataclass(frozen=True)
class Values:
    """Properties of the values of one mask.

    Args:
        kind: "empty", "binary" (one value above 0), "soft" (levels between background and foreground), or "numbers"
            (several regions of constant values).
        top: value that stands for certainly foreground in a soft mask.
        levels: number of different values above 0.
        connected: of the values above 0, the share whose pixels are one piece; 1 for objects, lower for classes.
    """

    kind: str
    top: float
    levels: int
    connected: float


def inspect(values: np.ndarray) -> Values:
    """Decide what the values of a mask (height, width; integers, floats or bool) mean."""
    present = np.unique(values[values > 0])
    top = _range(values, present)
    if len(present) < 2:
        return Values("binary" if len(present) else "empty", top, len(present), 1.0)
    if present[-1] >= _HIGH * top and _is_soft(values, present):
        return Values("soft", top, len(present), 1.0)
    return Values("numbers", top, len(present), _connected(values, present))


def threshold(values: np.ndarray, seen: Values) -> np.ndarray:
    """Boolean mask: at least half of the range in a soft mask, above 0 in all others."""
    return values >= seen.top / 2 if seen.kind == "soft" else values > 0


def _range(values: np.ndarray, present: np.ndarray) -> float:
    largest = float(present[-1]) if len(present) else 0.0
    if np.issubdtype(values.dtype, np.floating):
        return 1.0 if largest <= 1 else 255.0 if largest <= 255 else largest
    return 255.0 if largest <= 255 else 65535.0 if largest > 32767 else largest


def _is_soft(values: np.ndarray, present: np.ndarray) -> bool:
    """Whether intermediate values form edges or gradients, not regions of constant value."""
    between = (values > 0) & (values < present[-1])
    same = np.ones(values.shape, bool)
    same[1:] &= values[1:] == values[:-1]
    same[:-1] &= values[:-1] == values[1:]
    same[:, 1:] &= values[:, 1:] == values[:, :-1]
    same[:, :-1] &= values[:, :-1] == values[:, 1:]
    if (same & between).sum() <= _PLATEAU * between.sum() and not _are_specks(values, present):
        return True
    if len(present) < _LEVELS:
        return False
    steps = np.concatenate([_steps(values[:, 1:], values[:, :-1]), _steps(values[1:], values[:-1])])
    # numbers of touching objects rise by one along a row, and by many from row to row
    return steps.size > 0 and float(np.quantile(steps, 0.9)) <= 0.05 * float(present[-1])


def _steps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Differences of neighboring values where both are above 0 and differ."""
    both = (one > 0) & (other > 0) & (one != other)
    return np.abs(one[both].astype(np.float64) - other[both].astype(np.float64))


def _are_specks(values: np.ndarray, present: np.ndarray) -> bool:
    """Whether most values above 0 form one small separate region, as numbers of tiny objects do."""
    apart = 0
    sampled = present[:: max(1, len(present) // 16)]
    for value in sampled:
        region = (values == value).astype(np.uint8)
        around = cv2.dilate(region, np.ones((3, 3), np.uint8)).astype(bool) & ~region.astype(bool)
        apart += not values[around].any()
    return apart > len(sampled) / 2


def _connected(values: np.ndarray, present: np.ndarray) -> float:
    sampled: Sequence[float] = present[:: max(1, len(present) // 32)].tolist()
    single = [cv2.connectedComponents((values == value).astype(np.uint8))[0] <= 2 for value in sampled]
    return sum(single) / len(single)


__all__ = ["Values", "inspect", "threshold"]
