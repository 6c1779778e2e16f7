"""Losses of the training: nested masks, predicted IoU, object score, and dense supervision of the features."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def balanced(logits: Tensor, target: Tensor) -> Tensor:
    """Mean of the cross-entropies inside and outside the mask; (..., H, W) to (...)."""
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    inside = (loss * target).sum((-2, -1)) / target.sum((-2, -1)).clamp(min=1)
    outside = (loss * (1 - target)).sum((-2, -1)) / (1 - target).sum((-2, -1)).clamp(min=1)
    return 0.5 * (inside + outside)


class MaskLoss(torch.autograd.Function):
    """Dice plus a blend of balanced cross-entropy and focal loss per mask, with its gradient in closed form.

    Autograd would keep about ten maps of the size of the logits; here the gradient is computed in the forward pass.

    `compiled` fuses its element-wise operations (it needs a C++ compiler): on a CPU a seventh of a step's time.
    """

    compiled = False

    @staticmethod
    def forward(ctx, logits: Tensor, target: Tensor, early: float, alpha: float = 0.25) -> Tensor:
        """logits, target (..., H, W) to (...); `early` 1 is balanced cross-entropy, 0 is 20 x focal loss."""
        value, gradient = (_fused() if MaskLoss.compiled else _mask_loss)(logits, target, early, alpha)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx, upstream: Tensor):
        """Gradient of the logits."""
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[..., None, None], None, None, None


def _mask_loss(x: Tensor, t: Tensor, early: float, alpha: float) -> tuple[Tensor, Tensor]:
    pixels = x.shape[-1] * x.shape[-2]
    p = torch.sigmoid(x)
    entropy = F.softplus(x) - x * t
    overlap, total, true = (p * t).sum((-2, -1)), p.sum((-2, -1)), t.sum((-2, -1))
    below = total + true + 1
    value = 1 - (2 * overlap + 1) / below
    slope = (((2 * overlap + 1) / below)[..., None, None] - 2 * t) / below[..., None, None]
    gradient = slope * p * (1 - p)
    if early > 0:
        weight = (
            early
            * 0.5
            * (t / true.clamp(min=1)[..., None, None] + (1 - t) / (pixels - true).clamp(min=1)[..., None, None])
        )
        value = value + (weight * entropy).sum((-2, -1))
        gradient = gradient + weight * (p - t)
    if early < 1:
        wrong = p - t
        weight = (1 - early) * 20 / pixels * (alpha * t + (1 - alpha) * (1 - t))
        square = wrong * wrong
        value = value + (weight * square * entropy).sum((-2, -1))
        gradient = gradient + weight * wrong * (2 * p * (1 - p) * entropy + square)
    return value, gradient


@functools.cache
def _fused() -> Callable:
    return torch.compile(_mask_loss, dynamic=True)


def iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of the thresholded masks; (..., H, W) to (...)."""
    found, true = logits > 0, target > 0.5
    return (found & true).sum((-2, -1)) / (found | true).sum((-2, -1)).clamp(min=1)


def settled(logits: Tensor, target: Tensor, bands: Tensor) -> Tensor:
    """Logits (..., H, W) with a certain and right answer within the bands, where the loss has no gradient then.

    Args:
        logits: (..., H, W).
        target: in 0..1.
        bands: bool; True where the target is not certain.
    """
    return torch.where(bands, 40 * (target > 0.5).to(logits.dtype) - 20, logits)


def prompt_losses(
    logits: Tensor, scores: Tensor, presence: Tensor, batch: dict[str, Tensor], early: float
) -> dict[str, Tensor]:
    """Losses of masks, predicted IoUs and object scores.

    Tokens 1, 2 and 3 learn the smallest mask that contains the prompt, the next larger one and the largest; token 0
    learns the wanted mask, and so do all of them for a prompt of several points. The predicted IoU is that with the
    wanted mask.

    Args:
        logits: (B, P, 4, h, w).
        scores: (B, P, 4) predicted IoU.
        presence: (B, P) logits of the object score.
        batch: `masks` (B, M, h, w) in 0..255, `bands` (B, M, h, w), 1 where a mask is not certain and the losses ignore
            it, `targets` (B, P, 4), `present` (B, P).
        early: see `MaskLoss`.
    """
    masks, targets, present = batch["masks"], batch["targets"], batch["present"]
    rows = torch.arange(masks.shape[0], device=masks.device)[:, None, None]
    wanted = masks[rows, targets].float() / 255
    bands = batch["bands"]
    learned = logits
    if bands.any():
        bands = bands[rows, targets].bool()
        learned, wanted = settled(logits, wanted, bands), torch.where(bands, (wanted > 0.5).float(), wanted)
        logits = settled(logits.detach(), wanted[:, :, :1], bands[:, :, :1])
    per_prompt = MaskLoss.apply(learned, wanted, early).mean(2)
    with torch.no_grad():
        true = iou(logits, wanted[:, :, :1])
    square = ((scores - true) ** 2).mean(2)
    count = present.sum().clamp(min=1)
    return {
        "mask": (per_prompt * present).sum() / count,
        "iou": (square * present).sum() / count,
        "presence": F.binary_cross_entropy_with_logits(presence, present),
    }


class Dense(nn.Module):
    """Training-only heads: which cells belong together, and where the borders are.

    The features get a gradient at every cell instead of one through each prompt.

    Args:
        widths: channels of the features at strides 4, 8 and 16.
        dim: width of the codes.
    """

    def __init__(self, widths: tuple[int, int, int], dim: int = 32) -> None:
        super().__init__()
        self.fine = nn.Conv2d(widths[1], 2 * dim, 1)
        self.deep = nn.Conv2d(widths[2], 2 * dim, 1)
        self.border = nn.Conv2d(widths[0], 1, 1)
        self.offset = nn.Parameter(torch.full((2,), 2.0))

    def forward(self, levels: tuple[Tensor, Tensor, Tensor], batch: dict[str, Tensor], anchors: int = 32) -> Tensor:
        """Mean loss over the views whose objects all have ids; 0 where there are none."""
        chosen_views = batch["complete"] > 0
        if not chosen_views.any():
            return levels[0].new_zeros(())
        s4, s8, s16 = (level[chosen_views] for level in levels)
        whole = batch["objects"][chosen_views].long()
        piece = whole * 256 + batch["parts"][chosen_views].long()
        border = self._border(self.border(s4).float()[:, 0], piece).mean()
        code = self.fine(s8) + F.interpolate(self.deep(s16), scale_factor=2.0)
        code = code.float().unflatten(1, (2, -1)).flatten(3)
        whole, piece = whole[:, ::2, ::2].flatten(1), piece[:, ::2, ::2].flatten(1)
        chosen = _anchors(whole, anchors)
        affinity = self._affinity(code[:, 0], whole, chosen, 0) + self._affinity(code[:, 1], piece, chosen, 1)
        return 0.5 * affinity.mean() + 0.3 * border

    def _affinity(self, code: Tensor, ids: Tensor, chosen: Tensor, which: int) -> Tensor:
        anchor = code.gather(2, chosen[:, None].expand(-1, code.shape[1], -1))
        apart = anchor.square().sum(1)[:, :, None] + code.square().sum(1)[:, None] - 2 * anchor.mT @ code
        logits = self.offset[which] - apart / code.shape[1] ** 0.5
        same = (ids.gather(1, chosen)[:, :, None] == ids[:, None]).float()
        return MaskLoss.apply(logits[..., None], same[..., None], 1.0).mean(1)

    @staticmethod
    def _border(logits: Tensor, ids: Tensor) -> Tensor:
        edge = torch.zeros_like(logits)
        edge[:, :, 1:] += ids[:, :, 1:] != ids[:, :, :-1]
        edge[:, 1:] += ids[:, 1:] != ids[:, :-1]
        return balanced(logits, edge.clamp(max=1))


def _anchors(ids: Tensor, count: int) -> Tensor:
    """(B, count) cells, drawn evenly over the ids present, mostly off the background."""
    onehot = F.one_hot(ids, 256).sum(1).clamp(min=1)
    weight = 1.0 / onehot.gather(1, ids).float()
    weight = torch.where(ids > 0, weight, 0.25 * weight)
    return torch.multinomial(weight, count, replacement=True)
