"""`mask-center`: one click at the pixel farthest from the mask's boundary, the single-click protocol of SAM
(arXiv 2304.02643, 7.1) and of Kim et al. (arXiv 2403.09199, 5.1). Deterministic; at the mask's own resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from samtailor.masks import interior
from samtailor.prompts import Source
from samtailor.registry import refuse_unknown
from samtailor.structures import Prompts, Sample

center = interior.center

TYPE = "points"


def clicks(points: Sequence[tuple[float, float]], frame: tuple[int, int]) -> Prompts:
    """One click on the object for each prompt: Prompts with points (1, P, 1, 2)."""
    tensor = torch.tensor(np.asarray(points, np.float32).reshape(1, -1, 1, 2))
    return Prompts(frame, points=tensor, labels=torch.ones(tensor.shape[:3], dtype=torch.int64))


def build(**unknown: Any) -> Source:
    """The source; it has no options.

    Args:
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)

    def source(sample: Sample, masks: Sequence[np.ndarray], rng: np.random.Generator | None = None) -> Prompts:
        height, width = masks[0].shape
        return clicks([center(mask) for mask in masks], (height, width))

    return source
