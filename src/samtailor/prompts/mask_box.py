"""`mask-box`: the box of the true mask. It is an oracle prompt: it contains the extent of the object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from samtailor.masks import interior
from samtailor.prompts import Source
from samtailor.registry import number, refuse_unknown
from samtailor.structures import Prompts, Sample

TYPE = "boxes"


def build(*, jitter: float = 0.0, reach: float = 20.0, **unknown: Any) -> Source:
    """The source. Corners are pixel indices and include the last column and row, as SAM makes boxes from masks.

    Args:
        jitter: standard deviation of each corner coordinate as a fraction of the side of the box (SAM trains with 0.1).
        reach: largest shift in pixels of a frame of 1024 px (SAM: 20).
        **unknown: refused with an InputError.

    Raises:
        InputError: jitter or reach is not a number of at least 0.
    """
    refuse_unknown(build, unknown)
    number("jitter", jitter, at_least=0)
    number("reach", reach, at_least=0)

    def source(sample: Sample, masks: Sequence[np.ndarray], rng: np.random.Generator) -> Prompts:
        height, width = masks[0].shape
        boxes = np.array([interior.box(mask) for mask in masks], np.float32)
        if jitter:
            limit = reach * max(height, width) / 1024
            sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1)
            boxes = boxes + np.clip(rng.normal(size=boxes.shape) * jitter * np.tile(sides, 2), -limit, limit)
            boxes = np.clip(boxes, 0, [width - 1, height - 1] * 2)
            # a shift may exchange the corners of a thin box
            boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1)
        return Prompts((height, width), boxes=torch.tensor(boxes, dtype=torch.float32)[None])

    return source
