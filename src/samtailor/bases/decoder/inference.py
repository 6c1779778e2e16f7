"""The mask decoder for many prompts on one image, without gradients.

The vendor's forward copies the image for every prompt before the first layer and projects all its cells in every
attention. Here the cells are shared by all prompts until the first layer writes to them, and are projected once. The
rest is `sums.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor, nn

from samtailor.bases._modules import exchange
from samtailor.bases._protocol import Base
from samtailor.bases.decoder.sums import affine, as_matrix, cross_attention, run_transformer, skip_rows, upscale_once
from samtailor.structures import Features, Output, Tokens

_UPSCALED_BYTES = 1 << 24
"""Size of the upscaled maps of one pass on a CPU. Larger ones fall out of its cache and are allocated anew each time,
which makes a pass of 64 prompts a third slower per prompt than several small ones."""
MANY = 64
"""Prompts of one pass where there is no such bound."""
AnyModule = TypeVar("AnyModule", bound=nn.Module)


@dataclass(frozen=True)
class DecodedPrompts:
    """Predictions for the P prompts of one image; G is the side of the embedding's grid.

    The logits are computed on request, so that those of candidates that are not chosen cost nothing.

    Args:
        iou: (P, M) predicted IoU.
        hyper: (P, M, c) outputs of the hyper-networks.
        cells: (P, G G, D) image keys.
        fine: (P, G G, 4, 4, c) upscaled image keys: for each cell 2 x 2 parts, for each part 2 x 2 places.
        grid: G.
    """

    iou: Tensor
    hyper: Tensor
    cells: Tensor
    fine: Tensor
    grid: int

    @classmethod
    def of(cls, output: Output) -> DecodedPrompts:
        """From an output of `base.decode` for one image."""
        cells = output.keys[0].flatten(2).mT
        fine = _from_grid(output.upscaled[0], output.keys.shape[-1]).movedim(1, -1)
        return cls(output.iou[0], output.hyper[0], cells, fine, output.keys.shape[-1])

    def __getitem__(self, rows: slice) -> DecodedPrompts:
        """A slice of the prompts."""
        return DecodedPrompts(self.iou[rows], self.hyper[rows], self.cells[rows], self.fine[rows], self.grid)

    @property
    def candidates(self) -> tuple[int, ...]:
        """See `Output.candidates`."""
        return tuple(range(1, self.iou.shape[1]))

    @property
    def keys(self) -> Tensor:
        """(P, D, G, G), see `Output.keys`."""
        return self.cells.mT.unflatten(2, (self.grid, self.grid))

    def logits(self, hyper: Tensor) -> Tensor:
        """Mask logits (P, m, 4 G, 4 G) of m rows of `hyper` for each prompt, (P, m, c)."""
        return _to_grid((hyper @ self.fine.flatten(1, 3).mT).unflatten(2, self.fine.shape[1:4]), self.grid)

    def best_masks(self) -> tuple[Tensor, Tensor]:
        """The candidate with the highest predicted IoU of each prompt: scores (P,) and logits (P, 4 G, 4 G)."""
        candidates = list(self.candidates)
        scores, best = self.iou[:, candidates].max(dim=1)
        hyper = self.hyper[:, candidates][torch.arange(len(best), device=best.device), best][:, None]
        return scores, self.logits(hyper)[:, 0]

    def output(self) -> Output:
        """Everything, as `base.decode` returns it, B = 1."""
        return Output(
            self.logits(self.hyper)[None],
            self.iou[None],
            keys=self.keys[None],
            upscaled=_to_grid(self.fine.movedim(-1, 1), self.grid)[None],
            hyper=self.hyper[None],
            candidates=self.candidates,
        )


class PromptDecoder:
    """Decodes many prompts on one image; the result equals `base.decode` up to rounding.

    Args:
        base: a base without adapters inside its decoder. Its weights are read when this object is made.
    """

    def __init__(self, base: Base) -> None:
        decoder: Any = base.model.mask_decoder
        self._decoder, self._reference = decoder, None if getattr(base, "standard_decoder", True) else base
        with torch.no_grad():
            self._upscaling = [as_matrix(conv) for conv in (decoder.upscale_conv1, decoder.upscale_conv2)]
        self.positions = base.positions().detach()
        """(1, D, G, G) positional encoding of the base."""
        self._cell_positions = self.positions.flatten(2).mT.contiguous()  # (1, K, D)

    def prompts_per_pass(self, device: torch.device) -> int:
        """Number of prompts that are decoded together in the shortest time, for callers with many."""
        if device.type != "cpu" or self._reference is not None:
            return MANY
        cells, (weight, _) = self.positions.shape[-1] ** 2, self._upscaling[1]
        each = 4 * cells * 4 * weight.shape[1]  # float32; four parts of a cell, each with four places
        return min(max(_UPSCALED_BYTES // each, 1), MANY)

    @torch.no_grad()
    def __call__(self, features: Features, tokens: Tokens) -> DecodedPrompts:
        """Decode tokens (1, P, N, D) on the features of one image."""
        if self._reference is not None:
            return DecodedPrompts.of(self._reference.decode(features, tokens))
        decoder, grid, (first, second) = self._decoder, features.main.shape[-1], self._upscaling
        iou, hyper, cells = run_transformer(
            decoder, features, tokens.dense, tokens.sparse[0], self._cell_positions, flush_denormals=True
        )
        skip = skip_rows(features.skips[0], grid) if features.skips else None
        fine = decoder.activation(affine(upscale_once(decoder, cells, features, first), second, skip))
        return DecodedPrompts(iou, hyper, cells, fine.reshape(*cells.shape[:2], 4, 4, -1), grid)


class _FastAttention(nn.Module):
    """Stands in for a torch MultiheadAttention; cheaper where few tokens attend to many cells."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self._attention = (attention,)  # a tuple hides it from nn.Module: the tensors stay where they are

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """(B, N, D) from (B, K, D)."""
        (attention,) = self._attention
        few = query.shape[1] * attention.num_heads < attention.embed_dim and key.shape[1] > query.shape[1]
        if need_weights or not few:
            return attention(query, key, value, need_weights=need_weights)
        return cross_attention(attention, query, key, value), None


def with_fast_attention(module: AnyModule) -> AnyModule:
    """A copy of a segmenter (or any module) that shares its tensors and attends to the image in the cheaper order."""
    return exchange(module, {name: _FastAttention(part) for name, part in module.named_modules() if _is_plain(part)})


def _is_plain(part: nn.Module) -> TypeGuard[nn.MultiheadAttention]:
    if not isinstance(part, nn.MultiheadAttention):
        return False
    return part.batch_first and part._qkv_same_embed_dim and part.in_proj_bias is not None and part.bias_k is None


def _to_grid(x: Tensor, grid: int) -> Tensor:
    """(P, M, G G, 4, 4) to (P, M, 4 G, 4 G)."""
    x = x.reshape(*x.shape[:2], grid, grid, 2, 2, 2, 2).permute(0, 1, 2, 4, 6, 3, 5, 7)
    return x.reshape(*x.shape[:2], 4 * grid, 4 * grid)


def _from_grid(x: Tensor, grid: int) -> Tensor:
    """(P, M, 4 G, 4 G) to (P, M, G G, 4, 4), the inverse of `_to_grid`."""
    x = x.reshape(*x.shape[:2], grid, 2, 2, grid, 2, 2).permute(0, 1, 2, 5, 3, 6, 4, 7)
    return x.reshape(*x.shape[:2], grid * grid, 4, 4)


__all__ = ["DecodedPrompts", "PromptDecoder", "with_fast_attention"]
