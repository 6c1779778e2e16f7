"""`sampled-click`: one click drawn from the mask, likelier near its centre (Kim et al., arXiv 2403.09199, 4.3: "an
arbitrary point from the training mask", by a probability that prefers points close to the centre; no formula given)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from samtailor.errors import InputError
from samtailor.masks import interior
from samtailor.prompts import Source
from samtailor.prompts.mask_center import clicks
from samtailor.registry import choose, refuse_unknown
from samtailor.structures import Prompts, Sample

CLICK = True
SHAPES = ("distance", "gaussian")


def build(*, gamma: float = 1.0, shape: str = "distance", **unknown: Any) -> Source:
    """The source. Always inside the mask.

    Args:
        gamma: p proportional to (D / max D)^gamma, D the interior distance. 0: uniform, SAM's own training clicks;
            towards infinity: the evaluation's centre click.
        shape: "distance", or "gaussian" around the centre click, sigma = sqrt(area / pi) / 2, cut at the mask (gamma is
            not used then).
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)
    check(gamma, shape)

    def source(sample: Sample, masks: Sequence[np.ndarray], rng: np.random.Generator) -> Prompts:
        return clicks([draw(mask, rng, gamma=gamma, shape=shape) for mask in masks], masks[0].shape)

    return source


def draw(mask: np.ndarray, rng: np.random.Generator, *, gamma: float = 1.0, shape: str = "distance") -> tuple[int, int]:
    """One pixel (x, y) of a mask."""
    return at(mask, rng.random(), gamma=gamma, shape=shape)


def check(gamma: float, shape: str) -> None:
    """Refuse what is no distribution, with an InputError."""
    choose("shape", shape, SHAPES)
    if gamma < 0:
        raise InputError(f"gamma must not be negative, got {gamma}.")


def at(mask: np.ndarray, chance: float, *, gamma: float = 1.0, shape: str = "distance") -> tuple[int, int]:
    """The pixel (x, y) of a mask at a place in [0, 1) of the distribution, pixels in raster order."""
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
