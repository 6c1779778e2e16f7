"""`toy`: a click at the first pixel of the mask, in reading order."""

from __future__ import annotations

import numpy as np
import torch

from samtailor.registry import refuse_unknown
from samtailor.structures import Prompts

CLICK = True


def build(**unknown):
    refuse_unknown(build, unknown)

    def source(sample, masks, rng=None):
        points = [np.argwhere(mask)[0][::-1].copy() for mask in masks]
        tensor = torch.tensor(np.array(points, np.float32)).reshape(1, -1, 1, 2)
        return Prompts(masks[0].shape, points=tensor, labels=torch.ones(tensor.shape[:3], dtype=torch.int64))

    return source
