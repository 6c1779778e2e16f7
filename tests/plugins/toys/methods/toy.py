"""`toy`: a method that adds a learned vector to the prompt tokens."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from samtailor.registry import refuse_unknown
from samtailor.segmenter import Segmenter
from samtailor.train.joint import Joint

DEFAULTS = {"steps": 2, "batch_size": 2}


def build(base, *, scale: float = 1.0, **unknown):
    refuse_unknown(build, unknown)
    return Segmenter(base, tokens={"shift": Shift(base.dim, scale)}), Joint


class Shift(nn.Module):
    def __init__(self, dim: int, scale: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, nn.Parameter(torch.zeros(dim))

    def forward(self, tokens, features, positions):
        return replace(tokens, sparse=tokens.sparse + self.scale * self.shift)
