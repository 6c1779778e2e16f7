"""`none`: empty prompts, without sparse tokens and with the default dense prompt, for methods that segment one region
per image without a prompt (SAMed, BLO-SAM)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from samtailor.prompts import Source
from samtailor.registry import refuse_unknown
from samtailor.structures import Prompts, Sample

TYPE = "none"


def build(**unknown: Any) -> Source:
    """The source; it has no options. All P prompts are the same, and so are their masks.

    Args:
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)

    def source(sample: Sample, masks: Sequence[np.ndarray], rng: np.random.Generator | None = None) -> Prompts:
        height, width = masks[0].shape
        return Prompts((height, width), count=(1, len(masks)))

    return source
