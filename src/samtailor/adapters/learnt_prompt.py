"""Prompts that learn (the upper level A of BLO-SAM and AM-SAM): the dense default prompt, sparse tokens, their offset,
and a prompt that fades away during training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from samtailor.bases import Base
from samtailor.errors import InputError
from samtailor.structures import Batch, Features, Prompts, Tokens


class DensePrompt(nn.Module):
    """BLO-SAM's A: D numbers in the place of SAM's `no_mask_embed`, broadcast to every cell of the image embedding.

    Starts at SAM's value (the text of AM-SAM says random; BLO-SAM's code, which it builds on, does not). Beside a mask
    prompt, which SAM encodes without that vector, the change of it is added.

    Args:
        base: frozen base.
    """

    def __init__(self, base: Base) -> None:
        super().__init__()
        with torch.no_grad():
            value = base.encode_prompts(Prompts((base.size, base.size))).dense[0, :, 0, 0]
        self.weight = nn.Parameter(value.detach().clone())
        self.register_buffer("first", value.detach().clone(), persistent=False)

    def forward(self, tokens: Tokens, features: Features, positions: Tensor) -> Tokens:
        """The dense prompt with A for SAM's vector; the sparse tokens as they came."""
        first, now = (value[None, :, None, None] for value in (self.first, self.weight))
        return Tokens(tokens.sparse, (tokens.dense - first) + now)


class SparsePrompt(nn.Module):
    """Learnt tokens instead of encoded points and boxes, the same for every image.

    They start as the base's tokens of a box around the whole image, or (AM-SAM, reading R3) by `begin` as the mean
    of the training images' tokens.

    Args:
        base: frozen base.
    """

    def __init__(self, base: Base) -> None:
        super().__init__()
        self._base = (base,)
        box = torch.tensor([[[0.0, 0.0, base.size - 1.0, base.size - 1.0]]])
        box = box.to(next(base.model.parameters()).device)
        with torch.no_grad():
            tokens = base.encode_prompts(Prompts((base.size, base.size), boxes=box)).sparse[0, 0]
        self.weight = nn.Parameter(tokens.detach().clone())

    @torch.no_grad()
    def begin(self, batches: Iterable[Batch]) -> None:
        """Start at the mean of the encoded boxes of training batches; batches without boxes change nothing."""
        given = [batch.prompts.to(self.weight.device) for batch in batches if batch.prompts.boxes is not None]
        if given:
            sparse = [self._base[0].encode_prompts(prompts).sparse.flatten(0, 1) for prompts in given]
            self.weight.copy_(torch.cat(sparse).mean(dim=0))

    def forward(self, tokens: Tokens, features: Features, positions: Tensor) -> Tokens:
        """These tokens for every prompt, whatever was asked."""
        return Tokens(self.weight.expand(*tokens.sparse.shape[:2], -1, -1), tokens.dense)


class SparseOffset(nn.Module):
    """An offset of the first two sparse tokens (the corners of a box), shared by all images (AM-SAM, reading R2).

    Args:
        dim: token width D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, dim))

    def forward(self, tokens: Tokens, features: Features, positions: Tensor) -> Tokens:
        """Tokens plus offset; a prompt with fewer than two tokens is left alone."""
        sparse = tokens.sparse
        if sparse.shape[2] < 2:
            return tokens
        return Tokens(torch.cat([sparse[:, :, :2] + self.weight, sparse[:, :, 2:]], dim=2), tokens.dense)


class FadingPrompt(nn.Module):
    """Sparse tokens in early training only (AM-SAM, reading R5): kept with a probability that falls from 1 to 0.

    The die is cast once a step, for both levels alike. When not training, tokens are always dropped.

    Args:
        early: share of the training after which the probability is 0.
    """

    def __init__(self, early: float = 0.5) -> None:
        super().__init__()
        self.early, self._kept = early, True

    def at(self, done: float) -> None:
        """Tell the share of the training that is done; draws from torch's generator."""
        self._kept = bool(torch.rand(()) < 1 - done / self.early)

    def forward(self, tokens: Tokens, features: Features, positions: Tensor) -> Tokens:
        """The tokens, or none of them."""
        if self.training and self._kept:
            return tokens
        return Tokens(tokens.sparse[:, :, :0], tokens.dense)


def box_as_mask(prompts: Prompts, side: int, logit: float = 8.0) -> Prompts:
    """Boxes of the model frame drawn as mask prompts (AM-SAM, reading R4): +logit inside, -logit outside.

    Args:
        prompts: with boxes (B, 1, 4); without boxes they are given back as they are.
        side: cells of a mask prompt.
        logit: value; SAM's own answers reach about this.

    Raises:
        InputError: several boxes an image, which one mask prompt cannot hold.
    """
    if prompts.boxes is None:
        return prompts
    if prompts.boxes.shape[1] != 1:
        raise InputError(f"A box drawn as a mask prompt needs one box an image, got {prompts.boxes.shape[1]}.")
    cell = prompts.frame[0] / side
    middle = (torch.arange(side, device=prompts.boxes.device) + 0.5) * cell - 0.5  # pixel-index convention
    x0, y0, x1, y1 = prompts.boxes[:, 0, :, None].unbind(1)
    columns, rows = (middle >= x0) & (middle <= x1), (middle >= y0) & (middle <= y1)
    inside = rows[:, :, None] & columns[:, None, :]
    return Prompts(prompts.frame, masks=torch.where(inside, logit, -logit)[:, None])


__all__ = ["DensePrompt", "FadingPrompt", "SparseOffset", "SparsePrompt", "box_as_mask"]
