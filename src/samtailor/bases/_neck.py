"""A base for `encode_image` alone, whose feature pyramid is cheaper: the base's own weights, the sums in another order.

SAM 2's neck brings every level of the picture to the width of the embedding and adds the coarser level, enlarged to the
nearest cell; its decoder then projects the two finest levels to a few channels. Only these projections are read. All of
it is linear and works on each cell by itself, so each level is projected first and enlarged and added after: the widest
maps are never made. With the encoding of positions, which only SAM 2's memory reads, they are a third of nano's time.

The vendor's forward stays the reference: what comes out agrees to rounding. No gradient is meant to flow.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.bases._protocol import Base

_NECK, _PROJECTIONS = "vision_encoder.neck", ("mask_decoder.conv_s0", "mask_decoder.conv_s1")


def encoding(base: Base) -> Base:
    """A twin of the base for `encode_image`, see the head of the file; the base itself where there is no such neck."""
    known = dict(base.model.named_modules())
    if not known.keys() >= set(_PROJECTIONS):  # SAM 1
        return base
    if any(conv.kernel_size != (1, 1) or conv.stride != (1, 1) for conv in known[_NECK].convs):
        return base
    neck = _Neck(known[_NECK], [known[name] for name in _PROJECTIONS])
    return base.with_modules({_NECK: neck, **{name: nn.Identity() for name in _PROJECTIONS}})


class _Neck(nn.Module):
    """In the place of the neck; what stands for the decoder's projections must be the identity.

    Args:
        neck: SAM 2's.
        projections: of the finest level, and of the next.
    """

    def __init__(self, neck: Any, projections: list[nn.Conv2d]) -> None:
        super().__init__()
        convs = [_matrix(conv) for conv in reversed(neck.convs)]  # finest first
        adding = [level in neck.fpn_top_down_levels and level + 1 < len(convs) for level in range(len(convs))]
        self._levels: list[list[tuple[Tensor, Tensor]]] = []
        for level in range(len(convs)):
            last = level + next(far for far, adds in enumerate(adding[level:]) if not adds)
            chain = convs[level : last + 1]
            if level < len(projections):
                weight, bias = _matrix(projections[level])
                chain = [(weight @ w, weight @ b) for w, b in chain]
                chain[0] = (chain[0][0], chain[0][1] + bias)
            self._levels.append(chain)

    def forward(self, hidden_states: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Levels (B, h, w, C), finest first, to maps (B, c, h, w), coarsest first, and zeros for their positions."""
        maps = [self._map(level, hidden_states) for level in reversed(range(len(self._levels)))]
        return tuple(maps), tuple(torch.zeros((), device=one.device).expand(one.shape) for one in maps)

    def _map(self, level: int, hidden: tuple[Tensor, ...]) -> Tensor:
        """A level and, enlarged, the coarser ones that are added to it."""
        made: Tensor | None = None
        for far, matrix in reversed(list(enumerate(self._levels[level], level))):
            own = F.linear(hidden[far], *matrix).permute(0, 3, 1, 2)
            made = own if made is None else own + F.interpolate(made, scale_factor=2.0, mode="nearest")
        return made


def _matrix(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """A convolution of size 1 as (c, C) and (c,)."""
    return conv.weight.detach().flatten(1), conv.bias.detach()


__all__ = ["encoding"]
