"""The attention of SAM's image encoder on a CPU: the same sums, in parts that stay in the processor's cache.

SAM adds a bias for the vertical and one for the horizontal distance to every attention logit. The vendor's forward
computes the whole bias first: for the global attention of ViT-B at 1024 px it is 12 x 4096 x 4096 numbers, 0.8 GB in
full precision. Here the bias and the logits of a few heads and queries exist at a time, and all products are plain
matrix products, which bfloat16 speeds up more than the fused attention kernel of a CPU.

The vendor's forward stays the reference; the results agree to rounding. Gradients are not supported.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_LOGITS = 1 << 19
"""Logits that exist at a time: 2 MB in full precision."""
_PARTS = ("qkv", "proj", "rel_pos_h", "rel_pos_w", "get_rel_pos", "num_attention_heads", "scale")


def fast_attentions(model: Any) -> dict[str, nn.Module]:
    """Modules that stand in for the attentions of SAM's image encoder, by name; empty for other encoders.

    Args:
        model: of transformers.
    """
    return {
        name: _Attention(part)
        for name, part in model.named_modules()
        if name.startswith("vision_encoder.layers.") and all(hasattr(part, needed) for needed in _PARTS)
    }


class _Attention(nn.Module):
    """Stands in for the attention of a block.

    Args:
        attention: SAM's, with relative positions.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self._attention = (attention,)  # a tuple hides it from nn.Module: the tensors stay where they are
        self._tables: dict[tuple[int, int, torch.dtype], tuple[Tensor, Tensor]] = {}

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        """(B, h, w, C) to the same shape, and no attention weights."""
        (attention,) = self._attention
        if hidden_states.device.type != "cpu":
            return attention(hidden_states)
        (rows, height, width), heads = hidden_states.shape[:3], attention.num_attention_heads
        projected = attention.qkv(hidden_states).reshape(rows, height * width, 3, heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4).flatten(1, 2)
        with torch.autocast("cpu", enabled=False):
            tables = self._positions(height, width, query.dtype)
            attended = _attend(query, key, value, *_biases(query, *tables), attention.scale)
        attended = attended.unflatten(0, (rows, heads)).transpose(1, 2).reshape(rows, height, width, -1)
        return attention.proj(attended), None

    def _positions(self, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Vertical (h, h, d) and horizontal (w, w, d) relative positions, by query and key."""
        known = (height, width, dtype)
        if known not in self._tables:
            (attention,) = self._attention
            vertical = attention.get_rel_pos(height, height, attention.rel_pos_h.detach())
            horizontal = attention.get_rel_pos(width, width, attention.rel_pos_w.detach())
            self._tables[known] = vertical.to(dtype), horizontal.to(dtype)
        return self._tables[known]


def _biases(query: Tensor, vertical: Tensor, horizontal: Tensor) -> tuple[Tensor, Tensor]:
    """Bias of each query for the rows, (R, h w, h), and for the columns of the keys, (R, h w, w)."""
    count, (height, width) = len(query), (len(vertical), len(horizontal))
    cells = query.unflatten(1, (height, width))
    by_row = cells.transpose(0, 1).flatten(1, 2) @ vertical.mT
    by_row = by_row.unflatten(1, (count, width)).transpose(0, 1)
    by_column = cells.permute(2, 0, 1, 3).flatten(1, 2) @ horizontal.mT
    by_column = by_column.unflatten(1, (count, height)).permute(1, 2, 0, 3)
    return by_row.flatten(1, 2), by_column.flatten(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor, by_row: Tensor, by_column: Tensor, scale: float) -> Tensor:
    """Attention of R heads: queries, keys and values (R, K, d) with biases (R, K, h) and (R, K, w) to (R, K, d)."""
    heads, count = query.shape[:2]
    at_once, step = max(_LOGITS // count**2, 1), min(max(_LOGITS // count, 1), count)
    out = torch.empty_like(query)
    for start in range(0, heads, at_once):
        some = slice(start, start + at_once)
        for first in range(0, count, step):
            part = some, slice(first, first + step)
            bias = (by_row[part].unsqueeze(-1) + by_column[part].unsqueeze(-2)).flatten(-2)
            weights = torch.baddbmm(bias, query[part], key[some].mT, alpha=scale).softmax(-1)
            out[part] = weights @ value[some]
    return out


__all__ = ["fast_attentions"]
