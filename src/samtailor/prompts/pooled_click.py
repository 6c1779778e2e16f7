"""`pooled-click`: as `sampled-click`, but a mask has so many clicks and no others.

What a frozen model answers to a click can then be kept: SAM-F's two numbers learn from logits that are computed once
(PerSAM-F, arXiv 2305.03048, does so for its one image).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from samtailor.errors import InputError
from samtailor.prompts import Source
from samtailor.prompts.mask_center import clicks
from samtailor.prompts.sampled_click import at, check
from samtailor.registry import refuse_unknown
from samtailor.structures import Prompts, Sample

CLICK = True


def build(*, draws: int = 32, gamma: float = 1.0, shape: str = "distance", **unknown: Any) -> Source:
    """The source. Always inside the mask.

    Args:
        draws: clicks of a mask, at equal steps of the distribution; one of them is drawn each time.
        gamma, shape: the distribution, see `sampled_click.build`.
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)
    check(gamma, shape)
    if draws < 1:
        raise InputError(f"draws must be at least 1, got {draws}.")

    def source(sample: Sample, masks: Sequence[np.ndarray], rng: np.random.Generator) -> Prompts:
        places = (np.array([rng.integers(draws) for _ in masks]) + 0.5) / draws
        points = [at(mask, float(place), gamma=gamma, shape=shape) for mask, place in zip(masks, places, strict=True)]
        return clicks(points, masks[0].shape)

    return source
