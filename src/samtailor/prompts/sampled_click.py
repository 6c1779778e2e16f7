"""`sampled-click`: one click drawn from the mask, more probable near its center (Kim et al., arXiv 2403.09199, 4.3: "an
arbitrary point from the training mask", with a probability that prefers points close to the center; no formula is
given)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from samtailor.masks import interior
from samtailor.prompts import Source
from samtailor.prompts.mask_center import clicks
from samtailor.registry import choose, number, refuse_unknown
from samtailor.structures import Prompts, Sample

TYPE = "points"
SHAPES = ("distance", "gaussian")


def build(*, gamma: float = 1.0, shape: str = "distance", **unknown: Any) -> Source:
    """The source. Clicks are always inside the mask.

    Args:
        gamma: p is proportional to (D / max D)^gamma, D being the interior distance. 0: uniform, as in SAM's training;
            toward infinity: the center click of the evaluation protocol.
        shape: "distance", or "gaussian" around the center click with sigma = sqrt(area / pi) / 2, limited to the mask
            (gamma is then not used).
        **unknown: refused with an InputError.

    Raises:
        InputError: unknown shape, or gamma is not a number of at least 0.
    """
    refuse_unknown(build, unknown)
    check(gamma, shape)

    def source(sample: Sample, masks: Sequence[np.ndarray], rng: np.random.Generator) -> Prompts:
        height, width = masks[0].shape
        return clicks([draw(mask, rng, gamma=gamma, shape=shape) for mask in masks], (height, width))

    return source


def draw(mask: np.ndarray, rng: np.random.Generator, *, gamma: float = 1.0, shape: str = "distance") -> tuple[int, int]:
    """One pixel (x, y) of a mask."""
    return at(mask, rng.random(), gamma=gamma, shape=shape)


def check(gamma: float, shape: str) -> None:
    """Raise InputError unless this is a valid distribution."""
    choose("shape", shape, SHAPES)
    number("gamma", gamma, at_least=0)


def at(mask: np.ndarray, chance: float, *, gamma: float = 1.0, shape: str = "distance") -> tuple[int, int]:
    """The pixel (x, y) at quantile `chance`, in [0, 1), of the distribution over the mask's pixels in raster order."""
    distances, (x0, y0) = interior.distance(mask)
    rows, columns = np.nonzero(distances)
    inside = distances[rows, columns].astype(np.float64)
    if shape == "gaussian":
        row, column = np.unravel_index(np.argmax(distances), distances.shape)
        variance = len(rows) / np.pi / 4
        weights = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * variance))
    else:
        weights = (inside / inside.max()) ** gamma
    reached = np.cumsum(weights)
    index = min(int(np.searchsorted(reached, chance * reached[-1], side="right")), len(rows) - 1)
    return x0 + int(columns[index]), y0 + int(rows[index])
