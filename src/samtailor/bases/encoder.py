"""A cheaper image encoder: the base's own weights, without the sums that are never read.

SAM 1's attention is computed in parts (`_vit_attention.py`). In SAM 2's encoder in transformers:

* The neck projects every level of the image to the width of the embedding and adds the upsampled coarser level. The
  decoder then projects the two finest levels to a few channels, and only these projections are read. All of it is
  linear and acts on each cell separately, so each level is projected first, then upsampled and added, and the widest
  maps are never computed. Together with the positional encoding, which only SAM 2's memory reads, this is a third of
  the time of a small encoder.
* Each attention of Hiera averages its weights over the heads, which is never read, and the positional encoding is
  interpolated again for every image. This is another eighth.

Other backbones stay as they are, unless they have a method `for_inference`, which returns a cheaper module.

The vendor's forward stays the reference; the results agree to rounding. Gradients are not supported.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.bases._modules import exchange
from samtailor.bases._protocol import Base
from samtailor.bases._vit_attention import fast_attentions

_BACKBONE, _NECK = "vision_encoder.backbone", "vision_encoder.neck"
_PROJECTIONS = ("mask_decoder.conv_s0", "mask_decoder.conv_s1")


def fast_encoder(base: Base) -> Base:
    """A twin of a base whose `encode_image` is cheaper; only that method may be used.

    The base itself is returned if there is nothing cheaper.
    """
    if attentions := fast_attentions(base.model):
        return base.with_modules(attentions)
    known: dict[str, Any] = dict(base.model.named_modules())
    if not known.keys() >= set(_PROJECTIONS):
        return base
    convs = getattr(known[_NECK], "convs", None)  # SAM 3 has another neck
    if convs is None or any(conv.kernel_size != (1, 1) or conv.stride != (1, 1) for conv in convs):
        return base
    neck = _Neck(known[_NECK], [known[name] for name in _PROJECTIONS])
    backbone = _cheaper(known[_BACKBONE])
    return base.with_modules({_BACKBONE: backbone, _NECK: neck, **{name: nn.Identity() for name in _PROJECTIONS}})


def _cheaper(backbone: Any) -> nn.Module:
    """The module that stands in for a backbone; the backbone itself if there is none."""
    if getattr(backbone.config, "model_type", "") == "sam2_hiera_det_model":
        return _Hiera(backbone)
    own = getattr(backbone, "for_inference", None)
    return backbone if own is None else own()


class _Hiera(nn.Module):
    """Stands in for the backbone.

    Args:
        backbone: SAM 2's.
    """

    blocks: nn.ModuleList

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self._backbone = (backbone,)
        attentions = {f"{index}.attn": _Attention(block.attn) for index, block in enumerate(backbone.blocks)}
        self.blocks = exchange(backbone.blocks, attentions)
        self._positions: dict[torch.Size, Tensor] = {}

    def forward(self, pixel_values: Tensor, **_: Any) -> SimpleNamespace:
        """Images (B, 3, s, s) to levels (B, h, w, C), finest first."""
        (backbone,) = self._backbone
        x = backbone.patch_embed(pixel_values)
        if (size := x.shape[1:3]) not in self._positions:
            self._positions[size] = backbone._get_pos_embed(size).detach()
        x = x + self._positions[size]
        levels = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            levels += [x] if index in backbone.stage_ends else []
        return SimpleNamespace(
            last_hidden_state=x, intermediate_hidden_states=tuple(levels), hidden_states=None, attentions=None
        )


class _Attention(nn.Module):
    """Stands in for the attention of a block.

    Args:
        attention: SAM 2's.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self._attention = (attention,)

    def forward(self, hidden_states: Tensor, **_: Any) -> Tensor:
        """(B, h, w, C) to (B, h', w', C'), pooled where the stage changes."""
        (attention,) = self._attention
        rows, height, width = hidden_states.shape[:3]
        projected = attention.qkv(hidden_states).reshape(rows, height * width, 3, attention.num_attention_heads, -1)
        query, key, value = projected.unbind(2)
        if attention.query_stride:
            query = _max_pool(query.reshape(rows, height, width, -1), attention.query_stride)
            height, width = query.shape[1:3]
            query = query.reshape(rows, height * width, attention.num_attention_heads, -1)
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        attended = F.scaled_dot_product_attention(query, key, value, scale=attention.scale)
        return attention.proj(attended.transpose(1, 2).reshape(rows, height, width, -1))


def _max_pool(x: Tensor, stride: tuple[int, int]) -> Tensor:
    """(B, h, w, C) to (B, h / s, w / s, C)."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), stride, stride).permute(0, 2, 3, 1)


class _Neck(nn.Module):
    """Stands in for the neck; the decoder's projections must then be the identity.

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
            last = level + next(further for further, adds in enumerate(adding[level:]) if not adds)
            chain = convs[level : last + 1]
            if level < len(projections):
                weight, bias = _matrix(projections[level])
                chain = [(weight @ w, weight @ b) for w, b in chain]
                chain[0] = (chain[0][0], chain[0][1] + bias)
            self._levels.append(chain)

    def forward(self, hidden_states: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Levels (B, h, w, C), finest first, to maps (B, c, h, w), coarsest first, and zeros for their positions."""
        maps = [self._map(level, hidden_states) for level in reversed(range(len(self._levels)))]
        return tuple(maps), tuple(torch.zeros((), device=level.device).expand(level.shape) for level in maps)

    def _map(self, level: int, hidden: tuple[Tensor, ...]) -> Tensor:
        """A level plus the upsampled coarser levels that are added to it."""
        *finer, (coarsest, matrix) = enumerate(self._levels[level], level)
        x = F.linear(hidden[coarsest], *matrix).permute(0, 3, 1, 2)
        for index, matrix in reversed(finer):
            upsampled = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = F.linear(hidden[index], *matrix).permute(0, 3, 1, 2) + upsampled
        return x


def _matrix(conv: Any) -> tuple[Tensor, Tensor]:
    """A convolution of kernel size 1 as weight (c, C) and bias (c,)."""
    return conv.weight.detach().flatten(1), conv.bias.detach()


__all__ = ["fast_encoder"]
