"""`none`: no prompt at all, no sparse token and the default dense prompt: what methods are asked with that segment one
region an image by themselves (SAMed, BLO-SAM)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from samtailor.prompts import Source
from samtailor.registry import refuse_unknown
from samtailor.structures import Prompts, Sample


def build(**unknown: Any) -> Source:
    """The source; it has no options. All P prompts are the same, and so are the answers."""
    refuse_unknown(build, unknown)

    def source(sample: Sample, masks: Sequence[np.ndarray], rng: np.random.Generator | None = None) -> Prompts:
        return Prompts(masks[0].shape, count=(1, len(masks)))

    return source
