"""Linear map: a linear discriminant of the frozen features, in closed form. With a few masks it is about as good as a
small trained network, errs elsewhere, and takes about a second.

The discriminant is that of `matchers.multiscale`, which computes it (`train.closed_form`). Not from a paper; see
`docs/research/tailor.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.adapters.descriptors import channels_of, maps_of, normalized
from samtailor.adapters.tiled import LOGIT_LIMIT
from samtailor.bases.companions import resized
from samtailor.structures import Features

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.bases.companions import Companion


class LinearMap(nn.Module):
    """Logits of the class in each cell, linear in the descriptors of the cell (`descriptors.describe_linear`).

    Args:
        base: frozen base.
        companion: frozen network whose features are read beside the embedding; None for none.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, base: Base, companion: Companion | None = None) -> None:
        super().__init__()
        self._companions = () if companion is None else (companion.fingerprint,)
        self._low_res = base.low_res
        self.register_buffer("weight", torch.zeros(channels_of(base, companion)))
        self.register_buffer("bias", torch.zeros(()))

    @torch.no_grad()
    def assign(self, weight: Tensor, bias: Tensor) -> None:
        """Take over a discriminant: weight (C,) and bias ()."""
        self.weight.copy_(weight)
        self.bias.copy_(bias)

    def forward(self, features: Features) -> Tensor:
        """Logits (B, 1, low_res, low_res), in [-LOGIT_LIMIT, LOGIT_LIMIT]."""
        maps = maps_of(features, self._companions)
        parts = self.weight.split([int(one.shape[1]) for one in maps])
        # a linear function of a map is resized instead of the map itself, which has many more channels
        scores = [
            resized(F.conv2d(normalized(one), part[None, :, None, None]), self._low_res)
            for one, part in zip(maps, parts, strict=True)
        ]
        return (torch.stack(scores).sum(dim=0) + self.bias).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)


__all__ = ["LinearMap"]
