"""`mask-box`: the box of the true mask, an oracle prompt: it tells the object's extent, which no user's click does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from samtailor.errors import InputError
from samtailor.masks import interior
from samtailor.prompts import Source
from samtailor.registry import refuse_unknown
from samtailor.structures import Prompts, Sample


def build(*, jitter: float = 0.0, reach: float = 20.0, **unknown: Any) -> Source:
    """The source. Corners are pixel indices, the last column and row included, as SAM makes boxes from masks.

    Args:
        jitter: standard deviation of each corner coordinate as a share of the box's side (SAM trains with 0.1).
        reach: largest shift, pixels at a frame of 1024 (SAM: 20).
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)
    if jitter < 0 or reach < 0:
        raise InputError(f"jitter and reach must not be negative, got {jitter} and {reach}.")

    def source(sample: Sample, masks: Sequence[np.ndarray], rng: np.random.Generator) -> Prompts:
        height, width = masks[0].shape
        boxes = np.array([interior.box(mask) for mask in masks], np.float32)
        if jitter:
            limit = reach * max(height, width) / 1024
            sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1)
            boxes = boxes + np.clip(rng.normal(size=boxes.shape) * jitter * np.tile(sides, 2), -limit, limit)
            boxes = np.clip(boxes, 0, [width - 1, height - 1] * 2)
            # a shift may turn a thin box inside out
            boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1)
        return Prompts((height, width), boxes=torch.tensor(boxes, dtype=torch.float32)[None])

    return source
