"""The mask decoder for many prompts on one picture: the base's own weights, the same sums in a cheaper order.

`DecoderTap` runs the vendor's forward, which gives every prompt its own copy of the picture from the first layer on and
projects all cells of it for every attention. Here (P prompts of N tokens, h heads, K cells, width D):

* Until the first layer writes to the cells they are the same for all prompts, and are projected once.
* A projection of the cells is moved to the few tokens: (x W_q)(c W_k)' = (x W_q W_k') c'; likewise for the values and
  for what the cells receive. N h rows are multiplied with the cells instead of D / 2 columns: about half the work.
* The two transposed convolutions have stride and size 2, so no two cells meet: each is one matrix product, and all
  stays in rows of channels until the logits, which are put in their places last.

The vendor's forward stays the reference: the answers agree to rounding, not to the bit. No gradient is meant to flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.bases import _vendor
from samtailor.bases._protocol import Base
from samtailor.types import Features, Output, Tokens

_NOTHING = 1e-30
"""Weights below are no part of any sum of float32; denormal ones would make the product ten times as slow."""


@dataclass(frozen=True)
class Answers:
    """What the decoder answers to P prompts on one picture, G = grid.

    Args:
        iou: (P, M).
        hyper: (P, M, c).
        cells: (P, G G, D) image keys.
        fine: (P, G G, 4, 4, c) upscaled image keys: of each cell 2 x 2 parts, of each part 2 x 2 places.
        grid: G.
    """

    iou: Tensor
    hyper: Tensor
    cells: Tensor
    fine: Tensor
    grid: int

    def __getitem__(self, rows: slice) -> Answers:
        """Some of the prompts."""
        return Answers(self.iou[rows], self.hyper[rows], self.cells[rows], self.fine[rows], self.grid)

    @property
    def candidates(self) -> tuple[int, ...]:
        """As of `Output`."""
        return tuple(range(1, self.iou.shape[1]))

    @property
    def keys(self) -> Tensor:
        """(P, D, G, G), as of `Output`."""
        return self.cells.mT.unflatten(2, (self.grid, self.grid))

    def logits(self, hyper: Tensor) -> Tensor:
        """Rows of `hyper` (P, m, c) to their logits (P, m, 4 G, 4 G)."""
        return _in_place((hyper @ self.fine.flatten(1, 3).mT).unflatten(2, self.fine.shape[1:4]), self.grid)

    def output(self) -> Output:
        """All of it, as the base's `decode` gives it."""
        upscaled = _in_place(self.fine.movedim(-1, 1), self.grid)
        parts = (self.logits(self.hyper), self.iou, self.keys, upscaled, self.hyper)
        return Output(*(part[None] for part in parts), candidates=self.candidates)


class Quick:
    """See the head of the file.

    Args:
        base: a base (not a twin with other modules inside); its weights are read when this is made.
    """

    def __init__(self, base: Base) -> None:
        self._base, self._decoder = base, base.model.mask_decoder
        self._matrices = [_matrix(conv) for conv in (self._decoder.upscale_conv1, self._decoder.upscale_conv2)]
        self.positions = base.positions().detach()
        """As of the base, computed once."""
        self._placed = self.positions.flatten(2).mT.contiguous()  # (1, K, D)

    @torch.no_grad()
    def __call__(self, features: Features, tokens: Tokens) -> Answers:
        """Answers to the prompts of one picture: features of one row, tokens (1, P, N, D)."""
        decoder = self._decoder
        own = [decoder.iou_token.weight, decoder.mask_tokens.weight]
        own = [decoder.obj_score_token.weight, *own] if features.skips else own  # SAM 2's first token
        masks, first = len(own[-1]), len(own) - 1
        own = torch.cat(own).expand(1, tokens.sparse.shape[1], -1, -1)
        queries, cells = self._attended(torch.cat([own, tokens.sparse], dim=2), features.main + tokens.dense)
        hyper = [decoder.output_hypernetworks_mlps[i](queries[:, first + i]) for i in range(masks)]
        iou = decoder.iou_prediction_head(queries[:, first - 1])
        return Answers(iou, torch.stack(hyper, dim=1), cells, self._upscaled(cells, features), self._base.grid)

    def _attended(self, tokens: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The two-way transformer: tokens (P, N, D) and cells (P, K, D)."""
        transformer, queries = self._decoder.transformer, tokens
        cells = image.flatten(2).mT.contiguous()  # (1, K, D), of all prompts
        for layer in transformer.layers:
            queries, cells = _layer(layer, queries, cells, tokens, self._placed)
        seen = _of_cells(transformer.final_attn_token_to_image, queries + tokens, cells + self._placed, cells)
        return transformer.layer_norm_final_attn(queries + seen)[0], cells.expand(tokens.shape[1], -1, -1)

    def _upscaled(self, cells: Tensor, features: Features) -> Tensor:
        """(P, K, D) to (P, K, 4, 4, c)."""
        decoder, (first, second) = self._decoder, self._matrices
        skips = [_parts(skip, self._base.grid) for skip in reversed(features.skips)] or [0.0, 0.0]
        x = _product(cells, first, skips[0])
        x = x.reshape(len(x), -1, first[0].shape[1] // 4)
        norm = decoder.upscale_layer_norm
        x = decoder.activation(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps))
        x = decoder.activation(_product(x, second, skips[1]))
        return x.reshape(len(x), cells.shape[1], 4, 4, -1)


class _Reading(nn.Module):
    """torch's MultiheadAttention, likewise, where few tokens read from many cells."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self._whole = (attention,)
        weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        self._parts = tuple(_Projection(*part) for part in zip(weights, biases, strict=True))

    def forward(self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False) -> tuple[Tensor, None]:
        """(B, N, D) from (B, K, D)."""
        (whole,), (asking, keys, values) = self._whole, self._parts
        if need_weights or query.shape[1] * whole.num_heads >= whole.embed_dim or key.shape[1] <= query.shape[1]:
            return whole(query, key, value, need_weights=need_weights)
        asked = F.linear(query, *asking) * whole.head_dim**-0.5
        return whole.out_proj(_read(asked, key, value, keys, values, whole.num_heads)), None


class _Projection(NamedTuple):
    weight: Tensor
    bias: Tensor


def quick(segmenter: nn.Module) -> Any:
    """A segmenter (or any module) once more, with the same tensors, whose attentions to the picture are cheaper."""
    found = {name: _Reading(part) for name, part in segmenter.named_modules() if _plain(part)}
    return _vendor.exchanged(segmenter, found)


def _plain(part: nn.Module) -> bool:
    if not isinstance(part, nn.MultiheadAttention):
        return False
    return part.batch_first and part._qkv_same_embed_dim and part.in_proj_bias is not None and part.bias_k is None


def _layer(layer: Any, queries: Tensor, cells: Tensor, tokens: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """One two-way block: queries (1, P, N, D), cells (1 or P, K, D)."""
    if layer.skip_first_layer_pe:
        queries = layer.self_attn(query=queries, key=queries, value=queries)[0]
    else:
        asked = queries + tokens
        queries = queries + layer.self_attn(query=asked, key=asked, value=queries)[0]
    queries = layer.layer_norm1(queries)
    placed = cells + positions
    queries = layer.layer_norm2(queries + _of_cells(layer.cross_attn_token_to_image, queries + tokens, placed, cells))
    queries = layer.layer_norm3(queries + layer.mlp(queries))
    cells = _to_cells(layer.cross_attn_image_to_token, cells, placed, queries + tokens, queries)
    return queries, layer.layer_norm4(cells)


def _of_cells(attention: Any, asked: Tensor, placed: Tensor, cells: Tensor) -> Tensor:
    """What the tokens (1, P, N, D) read from the cells."""
    _, prompts, count, width = asked.shape
    if len(cells) == 1:  # the same for all prompts, and tokens do not see each other here
        asked = asked.reshape(1, 1, prompts * count, width)
        return attention(query=asked, key=placed[None], value=cells[None])[0].reshape(1, prompts, count, width)
    query, key, value, out = attention.children()
    seen = _read(query(asked[0]) * attention.scaling, placed, cells, key, value, attention.num_attention_heads)
    return out(seen)[None]


def _read(asked: Tensor, placed: Tensor, cells: Tensor, key: Any, value: Any, heads: int) -> Tensor:
    """Attention of scaled queries (P, N, a) to cells (P, K, D) that are not projected: (P, N, a)."""
    prompts, count, width = asked.shape
    rows = _heads(asked, heads) @ _rows(key.weight, heads)  # the key's bias cancels in the softmax
    weights = (_by_prompt(rows, prompts) @ placed.mT).softmax(dim=-1)
    seen = (weights @ cells).unflatten(1, (heads, count)).transpose(0, 1).flatten(1, 2)
    seen = seen @ _rows(value.weight, heads).mT
    return seen.transpose(0, 1).reshape(prompts, count, width) + value.bias


def _to_cells(attention: Any, cells: Tensor, placed: Tensor, asked: Tensor, told: Tensor) -> Tensor:
    """The cells (1 or P, K, D) and what each reads from the tokens: (P, K, D)."""
    query, key, value, out = attention.children()
    prompts, count, heads = *asked.shape[1:3], attention.num_attention_heads
    known = _heads(key(asked[0]) * attention.scaling, heads)
    rows = _by_prompt(known @ _rows(query.weight, heads), prompts)
    same = _by_prompt(known @ query.bias.reshape(heads, -1, 1), prompts)
    scores = torch.baddbmm(same, rows, placed.expand(prompts, -1, -1).mT)
    weights = scores.unflatten(1, (heads, count)).softmax(dim=2).flatten(1, 2)  # over the tokens
    weights = F.threshold_(weights, _NOTHING, 0.0)
    given = _heads(value(told[0]), heads) @ out.weight.reshape(len(out.weight), heads, -1).permute(1, 2, 0)
    given = _by_prompt(given + out.bias / heads, prompts)  # a head's weights sum to 1
    return torch.baddbmm(cells.expand(prompts, -1, -1), weights.mT, given)


def _heads(projected: Tensor, heads: int) -> Tensor:
    """(P, N, h d) to (h, P N, d)."""
    return projected.flatten(0, 1).unflatten(1, (heads, -1)).transpose(0, 1)


def _rows(weight: Tensor, heads: int) -> Tensor:
    """(h d, D) to (h, d, D)."""
    return weight.unflatten(0, (heads, -1))


def _by_prompt(rows: Tensor, prompts: int) -> Tensor:
    """(h, P N, D) to (P, h N, D)."""
    return rows.unflatten(1, (prompts, -1)).transpose(0, 1).flatten(1, 2)


def _matrix(conv: nn.Module) -> tuple[Tensor, Tensor]:
    """A transposed convolution of stride and size 2 as (C, 4 c) and (4 c,): the 2 x 2 places, then channels."""
    weight = conv.weight.detach().permute(0, 2, 3, 1).flatten(1).contiguous()
    return weight, conv.bias.detach().repeat(4)


def _product(x: Tensor, matrix: tuple[Tensor, Tensor], skip: Tensor | float) -> Tensor:
    """x W + b + skip: (P, K, C) to (P, K, 4 c); the skip is (1, K, 4 c)."""
    weight, bias = matrix
    return torch.baddbmm((bias + skip).expand(len(x), x.shape[1], -1), x, weight.expand(len(x), -1, -1))


def _parts(skip: Tensor, grid: int) -> Tensor:
    """High-resolution features (1, c, s, s) to rows (1, G G s^2 / 4 G^2, 4 c), in the order of `Answers.fine`."""
    channels, side = skip.shape[1], skip.shape[-1] // grid
    if side == 2:
        x = skip.reshape(channels, grid, 2, grid, 2).permute(1, 3, 2, 4, 0)
    else:
        x = skip.reshape(channels, grid, 2, 2, grid, 2, 2).permute(1, 4, 2, 5, 3, 6, 0)
    return x.reshape(1, -1, 4 * channels)


def _in_place(x: Tensor, grid: int) -> Tensor:
    """(P, M, G G, 4, 4) to (P, M, 4 G, 4 G)."""
    x = x.reshape(*x.shape[:2], grid, grid, 2, 2, 2, 2).permute(0, 1, 2, 4, 6, 3, 5, 7)
    return x.reshape(*x.shape[:2], 4 * grid, 4 * grid)


__all__ = ["Answers", "Quick", "quick"]
