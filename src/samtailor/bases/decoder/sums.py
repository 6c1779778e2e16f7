"""The sums of the mask decoder in a cheaper order, for rows of one prompt each.

Letters: P rows of N tokens, h heads, K cells of the image embedding, token width D.

* Projections of the K cells are moved to the N tokens: (x W_q)(c W_k)' = (x W_q W_k') c'. The same holds for the
  values and for what the cells receive. N h rows are multiplied with the cells instead of D / 2 columns, which is
  about half the work.
* The two transposed convolutions have kernel size and stride 2, so their outputs do not overlap: each is one matrix
  product. Everything stays in rows of channels until the logits, which are rearranged last.

The rows are the prompts of one image (`inference.py`) or one prompt of each image of a batch (`training.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.structures import Features

Matrix = tuple[Tensor, Tensor]
"""A transposed convolution as weight (C, 4 c) and bias (4 c,)."""

_FLOOR = 1e-30
"""Attention weights below this add nothing in float32, but denormal ones make a product ten times as slow."""


class _Projection(NamedTuple):
    weight: Tensor
    bias: Tensor


def run_transformer(
    decoder: Any, features: Features, dense: Tensor, sparse: Tensor, positions: Tensor, *, flush_denormals: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The decoder without its upscaling.

    Args:
        decoder: the vendor's mask decoder.
        features: of one image, or of P images.
        dense: (1 or P, D, G, G) dense prompts.
        sparse: (P, N, D) tokens.
        positions: (1, K, D) positional encoding of the cells.
        flush_denormals: set tiny attention weights to zero in place, which autograd does not support.

    Returns:
        Predicted IoU (P, M), outputs of the hyper-networks (P, M, c) and cells (P, K, D).
    """
    learnt = [decoder.iou_token.weight, decoder.mask_tokens.weight]
    learnt = [decoder.obj_score_token.weight, *learnt] if features.skips else learnt  # the first token of SAM 2
    masks, iou_token = len(learnt[-1]), len(learnt) - 1
    tokens = torch.cat([torch.cat(learnt).expand(len(sparse), -1, -1), sparse], dim=1)[None]
    cells = (features.main + dense).flatten(2).mT.contiguous()
    output_tokens = slice(iou_token - 1, iou_token + masks)  # only these are read after the last layer
    queries, cells = _two_way(decoder.transformer, tokens, cells, positions, output_tokens, flush_denormals)
    hyper = [decoder.output_hypernetworks_mlps[i](queries[:, 1 + i]) for i in range(masks)]
    return decoder.iou_prediction_head(queries[:, 0]), torch.stack(hyper, dim=1), cells


def upscale_once(decoder: Any, cells: Tensor, features: Features, weights: Matrix) -> Tensor:
    """(P, K, D) upscaled once: (P, 4 K, c), the 2 x 2 parts of each cell."""
    skip = skip_rows(features.skips[-1], features.main.shape[-1]) if features.skips else None
    x = affine(cells, weights, skip)
    x = x.reshape(len(x), -1, weights[0].shape[1] // 4)
    norm = decoder.upscale_layer_norm
    return decoder.activation(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps))


def as_matrix(conv: Any) -> Matrix:
    """A transposed convolution of kernel size and stride 2 as a matrix; columns are the 2 x 2 places, then channels."""
    return conv.weight.permute(0, 2, 3, 1).flatten(1).contiguous(), conv.bias.repeat(4)


def cross_attention(attention: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """torch's multi-head attention of few queries (P, N, D) to many keys and values (P, K, D): (P, N, D).

    Equal to `attention(query, key, value, need_weights=False)[0]` up to rounding. The module must be batch-first, with
    one input width for queries, keys and values, and with biases.
    """
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    to_query, to_key, to_value = (_Projection(*part) for part in zip(weights, biases, strict=True))
    scaled = F.linear(query, *to_query) * attention.head_dim**-0.5
    return attention.out_proj(_attend(scaled, key, value, to_key, to_value, attention.num_heads))


def _attend(queries: Tensor, keys: Tensor, values: Tensor, to_key: Any, to_value: Any, heads: int) -> Tensor:
    """Attention of scaled queries (P, N, a) to keys and values (P, K, D) that are not projected: (P, N, a).

    Args:
        queries: projected and scaled.
        keys: the cells plus their positions.
        values: the cells.
        to_key, to_value: projections, with `weight` (a, D) and `bias` (a,).
        heads: h.
    """
    prompts, count, width = queries.shape
    rows = _heads(queries, heads) @ _rows(to_key.weight, heads)  # the bias of the keys cancels in the softmax
    weights = (keys @ _by_prompt(rows, prompts).mT).softmax(dim=1)  # (P, K, h N)
    mixed = (weights.mT @ values).unflatten(1, (heads, count)).transpose(0, 1).flatten(1, 2)
    mixed = mixed @ _rows(to_value.weight, heads).mT
    return mixed.transpose(0, 1).reshape(prompts, count, width) + to_value.bias


def _two_way(
    transformer: Any, tokens: Tensor, cells: Tensor, positions: Tensor, output_tokens: slice, flush_denormals: bool
) -> tuple[Tensor, Tensor]:
    """The two-way transformer: tokens (1, P, N, D) and cells (1 or P, K, D) to the `output_tokens` (P, n, D) and cells
    (P, K, D)."""
    queries, keys = tokens, cells + positions
    for layer in transformer.layers:
        queries, cells = _layer(layer, queries, cells, keys, tokens, flush_denormals)
        keys = cells + positions
    queries, tokens = queries[:, :, output_tokens], tokens[:, :, output_tokens]
    attended = _tokens_to_cells(transformer.final_attn_token_to_image, queries + tokens, keys, cells)
    return transformer.layer_norm_final_attn(queries + attended)[0], cells


def _layer(
    layer: Any, queries: Tensor, cells: Tensor, keys: Tensor, tokens: Tensor, flush_denormals: bool
) -> tuple[Tensor, Tensor]:
    """One two-way block: queries (1, P, N, D), cells (1 or P, K, D)."""
    if layer.skip_first_layer_pe:
        queries = layer.self_attn(query=queries, key=queries, value=queries)[0]
    else:
        with_positions = queries + tokens
        queries = queries + layer.self_attn(query=with_positions, key=with_positions, value=queries)[0]
    queries = layer.layer_norm1(queries)
    attended = _tokens_to_cells(layer.cross_attn_token_to_image, queries + tokens, keys, cells)
    queries = layer.layer_norm2(queries + attended)
    queries = layer.layer_norm3(queries + layer.mlp(queries))
    attention = layer.cross_attn_image_to_token
    cells = _cells_to_tokens(attention, cells, keys, queries + tokens, queries, flush_denormals)
    return queries, layer.layer_norm4(cells)


def _tokens_to_cells(attention: Any, queries: Tensor, keys: Tensor, cells: Tensor) -> Tensor:
    """Attention of the tokens (1, P, N, D) to the cells."""
    _, prompts, count, width = queries.shape
    if len(cells) < prompts:  # the cells are the same for all prompts, and tokens do not interact here
        joined = queries.reshape(1, 1, prompts * count, width)
        return attention(query=joined, key=keys[None], value=cells[None])[0].reshape(1, prompts, count, width)
    to_query, to_key, to_value, out = attention.children()
    scaled = to_query(queries[0]) * attention.scaling
    return out(_attend(scaled, keys, cells, to_key, to_value, attention.num_attention_heads))[None]


def _cells_to_tokens(
    attention: Any, cells: Tensor, queries: Tensor, keys: Tensor, values: Tensor, flush_denormals: bool
) -> Tensor:
    """The cells (1 or P, K, D) plus their attention to the tokens (1, P, N, D): (P, K, D)."""
    to_query, to_key, to_value, out = attention.children()
    prompts, count, heads = *keys.shape[1:3], attention.num_attention_heads
    scaled = _heads(to_key(keys[0]) * attention.scaling, heads)
    rows = _by_prompt(scaled @ _rows(to_query.weight, heads), prompts)
    offset = _by_prompt(scaled @ to_query.bias.reshape(heads, -1, 1), prompts)
    scores = torch.baddbmm(offset, rows, queries.expand(prompts, -1, -1).mT)
    weights = scores.unflatten(1, (heads, count)).softmax(dim=2).flatten(1, 2)  # over the tokens
    if flush_denormals:
        weights = torch.threshold_(weights, _FLOOR, 0.0)
    update = _heads(to_value(values[0]), heads) @ out.weight.reshape(len(out.weight), heads, -1).permute(1, 2, 0)
    update = _by_prompt(update + out.bias / heads, prompts)  # the weights of a head sum to 1
    return torch.baddbmm(cells.expand(prompts, -1, -1), weights.mT, update)


def affine(x: Tensor, matrix: Matrix, skip: Tensor | None) -> Tensor:
    """x W + b + skip: (P, K, C) to (P, K, 4 c); the skip is (1 or P, K, 4 c)."""
    weight, bias = matrix
    if skip is not None and len(skip) < len(x):
        return torch.baddbmm((bias + skip).expand(len(x), -1, -1), x, weight.expand(len(x), -1, -1))
    added = bias if skip is None else (bias + skip).flatten(0, 1)
    return torch.addmm(added, x.flatten(0, 1), weight).unflatten(0, x.shape[:2])


def skip_rows(skip: Tensor, grid: int) -> Tensor:
    """High-resolution features (P, c, s, s) to rows (P, s^2 / 4, 4 c): for each cell its 2 x 2 parts, for each part its
    2 x 2 places. `grid` is G; s is 2 G or 4 G."""
    rows, channels, side = len(skip), skip.shape[1], skip.shape[-1] // grid
    if side == 2:
        x = skip.reshape(rows, channels, grid, 2, grid, 2).permute(0, 2, 4, 3, 5, 1)
    else:
        x = skip.reshape(rows, channels, grid, 2, 2, grid, 2, 2).permute(0, 2, 5, 3, 6, 4, 7, 1)
    return x.reshape(rows, -1, 4 * channels)


def _heads(projected: Tensor, heads: int) -> Tensor:
    """(P, N, h d) to (h, P N, d)."""
    return projected.flatten(0, 1).unflatten(1, (heads, -1)).transpose(0, 1)


def _rows(weight: Tensor, heads: int) -> Tensor:
    """(h d, D) to (h, d, D)."""
    return weight.unflatten(0, (heads, -1))


def _by_prompt(rows: Tensor, prompts: int) -> Tensor:
    """(h, P N, D) to (P, h N, D)."""
    return rows.unflatten(1, (prompts, -1)).transpose(0, 1).flatten(1, 2)


__all__ = ["Matrix", "affine", "as_matrix", "cross_attention", "run_transformer", "skip_rows", "upscale_once"]
