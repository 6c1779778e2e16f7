"""The mask decoder's sums in a cheaper order: rows of one prompt each, and the cells of their images.

The base's own modules are read, whatever stands in their places (P rows of N tokens, h heads, K cells, width D):

* A projection of the cells is moved to the few tokens: (x W_q)(c W_k)' = (x W_q W_k') c'; likewise for the values and
  for what the cells receive. N h rows are multiplied with the cells instead of D / 2 columns: about half the work.
* The two transposed convolutions have stride and size 2, so no two cells meet: each is one matrix product, and all
  stays in rows of channels until the logits, which are put in their places last.

The rows are the prompts of one image (`_quick.py`), or of one image each (`_learning.py`). The vendor's forward is
the reference for both: the answers agree to rounding, not to the bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.structures import Features

Matrix = tuple[Tensor, Tensor]
"""A transposed convolution as weight (C, 4 c) and bias (4 c,)."""

_NOTHING = 1e-30
"""Weights below are no part of any sum of float32; denormal ones would make the product ten times as slow."""


class _Projection(NamedTuple):
    weight: Tensor
    bias: Tensor


def attended(
    decoder: Any, features: Features, dense: Tensor, sparse: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The decoder without its upscaling: predicted IoU (P, M), hyper-networks' outputs (P, M, c), cells (P, K, D).

    Args:
        decoder: the vendor's mask decoder.
        features: of one image, or of P.
        dense: (1 or P, D, G, G) dense prompts.
        sparse: (P, N, D) tokens.
        positions: (1, K, D) of the cells.
    """
    own = [decoder.iou_token.weight, decoder.mask_tokens.weight]
    own = [decoder.obj_score_token.weight, *own] if features.skips else own  # SAM 2's first token
    masks, first = len(own[-1]), len(own) - 1
    tokens = torch.cat([torch.cat(own).expand(len(sparse), -1, -1), sparse], dim=1)[None]
    cells = (features.main + dense).flatten(2).mT.contiguous()
    read = slice(first - 1, first + masks)  # all others have told the cells what they had to
    queries, cells = _two_way(decoder.transformer, tokens, cells, positions, read)
    hyper = [decoder.output_hypernetworks_mlps[i](queries[:, 1 + i]) for i in range(masks)]
    return decoder.iou_prediction_head(queries[:, 0]), torch.stack(hyper, dim=1), cells


def halfway(decoder: Any, cells: Tensor, features: Features, weights: Matrix) -> Tensor:
    """(P, K, D) upscaled once: (P, 4 K, c), of each cell its 2 x 2 parts."""
    skip = parts(features.skips[-1], features.main.shape[-1]) if features.skips else None
    x = product(cells, weights, skip)
    x = x.reshape(len(x), -1, weights[0].shape[1] // 4)
    norm = decoder.upscale_layer_norm
    return decoder.activation(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps))


def matrix(conv: nn.Module) -> Matrix:
    """A transposed convolution of stride and size 2 as one product: columns are the 2 x 2 places, then channels."""
    return conv.weight.permute(0, 2, 3, 1).flatten(1).contiguous(), conv.bias.repeat(4)


def reading(attention: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """torch's attention of few queries (P, N, D) to many keys and values (P, K, D): (P, N, D)."""
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    asking, keys, values = (_Projection(*part) for part in zip(weights, biases, strict=True))
    asked = F.linear(query, *asking) * attention.head_dim**-0.5
    return attention.out_proj(_read(asked, key, value, keys, values, attention.num_heads))


def _read(asked: Tensor, placed: Tensor, cells: Tensor, key: Any, value: Any, heads: int) -> Tensor:
    """Attention of scaled queries (P, N, a) to cells (P, K, D) that are not projected: (P, N, a).

    Args:
        asked: projected and scaled.
        placed: cells with their positions, what the keys are made of.
        cells: what the values are made of.
        key, value: projections, with `weight` (a, D) and `bias` (a,).
        heads: h.
    """
    prompts, count, width = asked.shape
    rows = _heads(asked, heads) @ _rows(key.weight, heads)  # the key's bias cancels in the softmax
    weights = (placed @ _by_prompt(rows, prompts).mT).softmax(dim=1)  # (P, K, h N)
    seen = (weights.mT @ cells).unflatten(1, (heads, count)).transpose(0, 1).flatten(1, 2)
    seen = seen @ _rows(value.weight, heads).mT
    return seen.transpose(0, 1).reshape(prompts, count, width) + value.bias


def _two_way(transformer: Any, tokens: Tensor, cells: Tensor, positions: Tensor, read: slice) -> tuple[Tensor, Tensor]:
    """The two-way transformer: tokens (1, P, N, D), cells (1 or P, K, D) to (P, n, D), of the tokens that are `read`,
    and (P, K, D)."""
    queries, placed = tokens, cells + positions
    for layer in transformer.layers:
        queries, cells = _layer(layer, queries, cells, placed, tokens)
        placed = cells + positions
    queries, tokens = queries[:, :, read], tokens[:, :, read]
    seen = _of_cells(transformer.final_attn_token_to_image, queries + tokens, placed, cells)
    return transformer.layer_norm_final_attn(queries + seen)[0], cells


def _layer(layer: Any, queries: Tensor, cells: Tensor, placed: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """One two-way block: queries (1, P, N, D), cells (1 or P, K, D)."""
    if layer.skip_first_layer_pe:
        queries = layer.self_attn(query=queries, key=queries, value=queries)[0]
    else:
        asked = queries + tokens
        queries = queries + layer.self_attn(query=asked, key=asked, value=queries)[0]
    queries = layer.layer_norm1(queries)
    queries = layer.layer_norm2(queries + _of_cells(layer.cross_attn_token_to_image, queries + tokens, placed, cells))
    queries = layer.layer_norm3(queries + layer.mlp(queries))
    cells = _to_cells(layer.cross_attn_image_to_token, cells, placed, queries + tokens, queries)
    return queries, layer.layer_norm4(cells)


def _of_cells(attention: Any, asked: Tensor, placed: Tensor, cells: Tensor) -> Tensor:
    """What the tokens (1, P, N, D) read from the cells."""
    _, prompts, count, width = asked.shape
    if len(cells) < prompts:  # the same for all prompts, and tokens do not see each other here
        asked = asked.reshape(1, 1, prompts * count, width)
        return attention(query=asked, key=placed[None], value=cells[None])[0].reshape(1, prompts, count, width)
    query, key, value, out = attention.children()
    seen = _read(query(asked[0]) * attention.scaling, placed, cells, key, value, attention.num_attention_heads)
    return out(seen)[None]


def _to_cells(attention: Any, cells: Tensor, placed: Tensor, asked: Tensor, told: Tensor) -> Tensor:
    """The cells (1 or P, K, D) and what each reads from the tokens: (P, K, D)."""
    query, key, value, out = attention.children()
    prompts, count, heads = *asked.shape[1:3], attention.num_attention_heads
    known = _heads(key(asked[0]) * attention.scaling, heads)
    rows = _by_prompt(known @ _rows(query.weight, heads), prompts)
    same = _by_prompt(known @ query.bias.reshape(heads, -1, 1), prompts)
    scores = torch.baddbmm(same, rows, placed.expand(prompts, -1, -1).mT)
    weights = scores.unflatten(1, (heads, count)).softmax(dim=2).flatten(1, 2)  # over the tokens
    if not torch.is_grad_enabled():  # a fit flushes denormal numbers itself
        weights = F.threshold_(weights, _NOTHING, 0.0)
    given = _heads(value(told[0]), heads) @ out.weight.reshape(len(out.weight), heads, -1).permute(1, 2, 0)
    given = _by_prompt(given + out.bias / heads, prompts)  # a head's weights sum to 1
    return torch.baddbmm(cells.expand(prompts, -1, -1), weights.mT, given)


def product(x: Tensor, matrix: Matrix, skip: Tensor | None) -> Tensor:
    """x W + b + skip: (P, K, C) to (P, K, 4 c); the skip is (1 or P, K, 4 c)."""
    weight, bias = matrix
    if skip is not None and len(skip) < len(x):
        return torch.baddbmm((bias + skip).expand(len(x), -1, -1), x, weight.expand(len(x), -1, -1))
    added = bias if skip is None else (bias + skip).flatten(0, 1)
    return torch.addmm(added, x.flatten(0, 1), weight).unflatten(0, x.shape[:2])


def _heads(projected: Tensor, heads: int) -> Tensor:
    """(P, N, h d) to (h, P N, d)."""
    return projected.flatten(0, 1).unflatten(1, (heads, -1)).transpose(0, 1)


def _rows(weight: Tensor, heads: int) -> Tensor:
    """(h d, D) to (h, d, D)."""
    return weight.unflatten(0, (heads, -1))


def _by_prompt(rows: Tensor, prompts: int) -> Tensor:
    """(h, P N, D) to (P, h N, D)."""
    return rows.unflatten(1, (prompts, -1)).transpose(0, 1).flatten(1, 2)


def parts(skip: Tensor, grid: int) -> Tensor:
    """High-resolution features (P, c, s, s) to rows (P, G G s^2 / 4 G^2, 4 c), of each cell 2 x 2
    parts, of each part its 2 x 2 places."""
    rows, channels, side = len(skip), skip.shape[1], skip.shape[-1] // grid
    if side == 2:
        x = skip.reshape(rows, channels, grid, 2, grid, 2).permute(0, 2, 4, 3, 5, 1)
    else:
        x = skip.reshape(rows, channels, grid, 2, 2, grid, 2, 2).permute(0, 2, 5, 3, 6, 4, 7, 1)
    return x.reshape(rows, -1, 4 * channels)


__all__ = ["Matrix", "attended", "halfway", "matrix", "parts", "product", "reading"]
