"""A base for `encode_image` alone that leaves out what nobody reads: the base's own weights, sums in another order.

Of SAM 2's encoder in transformers:

* The neck brings every level of the image to the width of the embedding and adds the coarser level, enlarged to the
  nearest cell; the decoder then projects the two finest levels to a few channels. Only these projections are read. All
  of it is linear and works on each cell by itself, so each level is projected first and enlarged and added after: the
  widest maps are never made. With the encoding of positions, which only SAM 2's memory reads, they are a third of
  nano's time.
* Each attention of the backbone weighs the heads of a cell against each other, which nothing reads, and the encoding
  of positions is enlarged anew for each image: another eighth.

The vendor's forward stays the reference: what comes out agrees to rounding. No gradient is meant to flow.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.bases import _vendor
from samtailor.bases._protocol import Base

_BACKBONE, _NECK = "vision_encoder.backbone", "vision_encoder.neck"
_PROJECTIONS = ("mask_decoder.conv_s0", "mask_decoder.conv_s1")


def encoding(base: Base) -> Base:
    """A twin of the base for `encode_image`, see the head of the file; the base itself where there is no such neck."""
    known = dict(base.model.named_modules())
    if not known.keys() >= set(_PROJECTIONS):  # SAM 1
        return base
    if any(conv.kernel_size != (1, 1) or conv.stride != (1, 1) for conv in known[_NECK].convs):
        return base
    neck = _Neck(known[_NECK], [known[name] for name in _PROJECTIONS])
    backbone = _Backbone(known[_BACKBONE])
    return base.with_modules({_BACKBONE: backbone, _NECK: neck, **{name: nn.Identity() for name in _PROJECTIONS}})


class _Backbone(nn.Module):
    """In the place of the backbone.

    Args:
        backbone: SAM 2's.
    """

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self._whole = (backbone,)
        own = {f"{index}.attn": _Attention(block.attn) for index, block in enumerate(backbone.blocks)}
        self.blocks = _vendor.exchanged(backbone.blocks, own)
        self._positions: dict[torch.Size, Tensor] = {}

    def forward(self, pixel_values: Tensor, **_: Any) -> SimpleNamespace:
        """Images (B, 3, s, s) to levels (B, h, w, C), finest first."""
        (whole,) = self._whole
        x = whole.patch_embed(pixel_values)
        if (size := x.shape[1:3]) not in self._positions:
            self._positions[size] = whole._get_pos_embed(size).detach()
        x = x + self._positions[size]
        levels = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            levels += [x] if index in whole.stage_ends else []
        return SimpleNamespace(
            last_hidden_state=x, intermediate_hidden_states=tuple(levels), hidden_states=None, attentions=None
        )


class _Attention(nn.Module):
    """In the place of a block's attention.

    Args:
        attention: SAM 2's.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self._whole = (attention,)

    def forward(self, hidden_states: Tensor, **_: Any) -> Tensor:
        """(B, h, w, C) to (B, h', w', C'), pooled where the stage changes."""
        (whole,) = self._whole
        rows, height, width, _ = hidden_states.shape
        projected = whole.qkv(hidden_states).reshape(rows, height * width, 3, whole.num_attention_heads, -1)
        query, key, value = projected.unbind(2)
        if whole.query_stride:
            query = _pooled(query.reshape(rows, height, width, -1), whole.query_stride)
            height, width = query.shape[1:3]
            query = query.reshape(rows, height * width, whole.num_attention_heads, -1)
        found = F.scaled_dot_product_attention(
            *(part.transpose(1, 2) for part in (query, key, value)), scale=whole.scale
        )
        return whole.proj(found.transpose(1, 2).reshape(rows, height, width, -1))


def _pooled(x: Tensor, stride: tuple[int, int]) -> Tensor:
    """(B, h, w, C) to (B, h / s, w / s, C): the largest of each s x s cells."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), stride, stride).permute(0, 2, 3, 1)


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
