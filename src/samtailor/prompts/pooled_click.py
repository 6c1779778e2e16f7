"""`pooled-click`: like `sampled-click`, but drawn from a fixed pool of clicks for each mask.

The predictions of a frozen model can then be cached: SAM-F trains its two weights on logits that are computed once
(PerSAM-F, arXiv 2305.03048, does so for its one image).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from samtailor.prompts import Source
from samtailor.prompts.mask_center import clicks
from samtailor.prompts.sampled_click import at, check
from samtailor.registry import number, refuse_unknown
from samtailor.structures import Prompts, Sample

TYPE = "points"


def build(*, draws: int = 32, gamma: float = 1.0, shape: str = "distance", **unknown: Any) -> Source:
    """The source. Clicks are always inside the mask.

    Args:
        draws: number of clicks in the pool of a mask, at equal steps of the distribution.
        gamma, shape: the distribution, see `sampled_click.build`.
        **unknown: refused with an InputError.

    Raises:
        InputError: draws is not an integer of at least 1, or the distribution is invalid.
    """
    refuse_unknown(build, unknown)
    check(gamma, shape)
    number("draws", draws, at_least=1, integer=True)

    def source(sample: Sample, masks: Sequence[np.ndarray], rng: np.random.Generator) -> Prompts:
        places = (np.array([rng.integers(draws) for _ in masks]) + 0.5) / draws
        points = [at(mask, float(place), gamma=gamma, shape=shape) for mask, place in zip(masks, places, strict=True)]
        height, width = masks[0].shape
        return clicks(points, (height, width))

    return source
