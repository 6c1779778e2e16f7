"""The mask decoder for many prompts on one image: the base's own weights, the sums of `_cells.py`.

`DecoderTap` runs the vendor's forward, which gives every prompt its own copy of the image from the first layer on and
projects all cells of it for every attention. Here the cells are the same for all prompts until the first layer writes
to them, and are projected once; then `_cells.py`. No gradient is meant to flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from samtailor.bases import _vendor
from samtailor.bases._cells import attended, halfway, matrix, parts, product, reading
from samtailor.bases._protocol import Base
from samtailor.structures import Features, Output, Tokens


@dataclass(frozen=True)
class Answers:
    """What the decoder answers to P prompts, G = grid.

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
        self._decoder = base.model.mask_decoder
        with torch.no_grad():
            self._matrices = [matrix(conv) for conv in (self._decoder.upscale_conv1, self._decoder.upscale_conv2)]
        self.positions = base.positions().detach()
        """As of the base, computed once."""
        self._placed = self.positions.flatten(2).mT.contiguous()  # (1, K, D)

    @torch.no_grad()
    def __call__(self, features: Features, tokens: Tokens) -> Answers:
        """Answers to the prompts of one image: features of one row, tokens (1, P, N, D)."""
        decoder, grid, (first, second) = self._decoder, features.main.shape[-1], self._matrices
        iou, hyper, cells = attended(decoder, features, tokens.dense, tokens.sparse[0], self._placed)
        skip = parts(features.skips[0], grid) if features.skips else None
        fine = decoder.activation(product(halfway(decoder, cells, features, first), second, skip))
        return Answers(iou, hyper, cells, fine.reshape(*cells.shape[:2], 4, 4, -1), grid)


class _Reading(nn.Module):
    """torch's MultiheadAttention, likewise, where few tokens read from many cells."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self._whole = (attention,)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False) -> tuple[Tensor, None]:
        """(B, N, D) from (B, K, D)."""
        (whole,) = self._whole
        if need_weights or query.shape[1] * whole.num_heads >= whole.embed_dim or key.shape[1] <= query.shape[1]:
            return whole(query, key, value, need_weights=need_weights)
        return reading(whole, query, key, value), None


def quick(segmenter: nn.Module) -> Any:
    """A segmenter (or any module) once more, with the same tensors, whose attentions to the image are cheaper."""
    found = {name: _Reading(part) for name, part in segmenter.named_modules() if _plain(part)}
    return _vendor.exchanged(segmenter, found)


def _plain(part: nn.Module) -> bool:
    if not isinstance(part, nn.MultiheadAttention):
        return False
    return part.batch_first and part._qkv_same_embed_dim and part.in_proj_bias is not None and part.bias_k is None


def _in_place(x: Tensor, grid: int) -> Tensor:
    """(P, M, G G, 4, 4) to (P, M, 4 G, 4 G)."""
    x = x.reshape(*x.shape[:2], grid, grid, 2, 2, 2, 2).permute(0, 1, 2, 4, 6, 3, 5, 7)
    return x.reshape(*x.shape[:2], 4 * grid, 4 * grid)


__all__ = ["Answers", "Quick", "quick"]
