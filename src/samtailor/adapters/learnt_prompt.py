"""Learnt prompts (the upper level A of BLO-SAM and AM-SAM): the dense default prompt, sparse tokens, an offset of them,
and a prompt that is faded out during training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from samtailor.bases import Base
from samtailor.errors import InputError
from samtailor.registry import choose
from samtailor.structures import Batch, Features, Prompts, Tokens

PROMPT_START = ("sam", "random")


class DensePrompt(nn.Module):
    """BLO-SAM's A: a vector of D numbers that replaces SAM's `no_mask_embed` in every cell of the image embedding.

    SAM encodes mask prompts without that vector; to these the change of the vector is added.

    Args:
        base: frozen base.
        start: "sam": SAM's value, as in BLO-SAM's code; "random": normal numbers of variance 1, as a new embedding of
            torch (AM-SAM's text says random and gives no distribution).

    Raises:
        InputError: unknown `start`.
    """

    first: Tensor

    def __init__(self, base: Base, start: str = "sam") -> None:
        super().__init__()
        choose("prompt_start", start, PROMPT_START)
        with torch.no_grad():
            value = base.encode_prompts(Prompts((base.size, base.size))).dense[0, :, 0, 0]
        weight = value.detach().clone() if start == "sam" else torch.randn(value.shape).to(value.device)
        self.weight = nn.Parameter(weight)
        self.register_buffer("first", value.detach().clone(), persistent=False)

    def forward(self, tokens: Tokens, features: Features, positions: Tensor, *, fast: bool = False) -> Tokens:
        """The dense prompt with A in place of SAM's vector; sparse tokens are not changed."""
        first, now = (value[None, :, None, None] for value in (self.first, self.weight))
        return Tokens(tokens.sparse, (tokens.dense - first) + now)


class SparsePrompt(nn.Module):
    """Learnt tokens instead of encoded points and boxes, the same for every image.

    They start as the base's tokens of a box around the whole image, or, with `begin` (AM-SAM, reading R3), as the mean
    of the tokens of the training images.

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
        """Start at the mean of the encoded boxes of training batches; batches without boxes are ignored."""
        boxes = [batch.prompts.to(self.weight.device) for batch in batches if batch.prompts.boxes is not None]
        if boxes:
            sparse = [self._base[0].encode_prompts(prompts).sparse.flatten(0, 1) for prompts in boxes]
            self.weight.copy_(torch.cat(sparse).mean(dim=0))

    def forward(self, tokens: Tokens, features: Features, positions: Tensor, *, fast: bool = False) -> Tokens:
        """The learnt tokens for every prompt; the encoded ones are dropped."""
        return Tokens(self.weight.expand(*tokens.sparse.shape[:2], -1, -1), tokens.dense)


class SparseOffset(nn.Module):
    """An offset of the first two sparse tokens (the corners of a box), shared by all images (AM-SAM, reading R2).

    Args:
        dim: token width D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, dim))

    def forward(self, tokens: Tokens, features: Features, positions: Tensor, *, fast: bool = False) -> Tokens:
        """Tokens plus offset; prompts with fewer than two tokens are not changed."""
        sparse = tokens.sparse
        if sparse.shape[2] < 2:
            return tokens
        return Tokens(torch.cat([sparse[:, :, :2] + self.weight, sparse[:, :, 2:]], dim=2), tokens.dense)


class FadingPrompt(nn.Module):
    """Keeps the sparse tokens in early training only (AM-SAM, reading R5), with a probability that falls from 1 to 0.

    It is drawn once per step, the same for both levels. In evaluation mode tokens are always dropped.

    Args:
        early: fraction of the training after which the probability is 0.
    """

    def __init__(self, early: float = 0.5) -> None:
        super().__init__()
        self.early, self._kept = early, True

    def at(self, done: float) -> None:
        """Set the fraction of the training that is done; draws from torch's global generator."""
        self._kept = bool(torch.rand(()) < 1 - done / self.early)

    def forward(self, tokens: Tokens, features: Features, positions: Tensor, *, fast: bool = False) -> Tokens:
        """All tokens, or none."""
        if self.training and self._kept:
            return tokens
        return Tokens(tokens.sparse[:, :, :0], tokens.dense)


def box_as_mask(prompts: Prompts, side: int, logit: float = 8.0) -> Prompts:
    """Boxes of the model frame drawn as mask prompts (AM-SAM, reading R4): +logit inside, -logit outside.

    Args:
        prompts: with boxes (B, 1, 4); prompts without boxes are returned unchanged.
        side: cells of a mask prompt.
        logit: absolute value; SAM's own logits are of this size.

    Raises:
        InputError: several boxes per image, which one mask prompt cannot represent.
    """
    if prompts.boxes is None:
        return prompts
    if prompts.boxes.shape[1] != 1:
        raise InputError(f"A box drawn as a mask prompt needs one box per image, got {prompts.boxes.shape[1]}.")
    cell = prompts.frame[0] / side
    middle = (torch.arange(side, device=prompts.boxes.device) + 0.5) * cell - 0.5  # pixel-index convention
    x0, y0, x1, y1 = prompts.boxes[:, 0, :, None].unbind(1)
    columns, rows = (middle >= x0) & (middle <= x1), (middle >= y0) & (middle <= y1)
    inside = rows[:, :, None] & columns[:, None, :]
    return Prompts(prompts.frame, masks=torch.where(inside, logit, -logit)[:, None])


__all__ = ["DensePrompt", "FadingPrompt", "SparseOffset", "SparsePrompt", "box_as_mask"]
