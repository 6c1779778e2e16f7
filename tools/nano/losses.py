"""Losses of the training: nested masks, predicted IoU, and dense supervision of the features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def balanced(logits: Tensor, target: Tensor) -> Tensor:
    """Mean of the cross-entropies inside and outside the mask; ``(..., H, W)`` -> ``(...)``."""
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    inside = (loss * target).sum((-2, -1)) / target.sum((-2, -1)).clamp(min=1)
    outside = (loss * (1 - target)).sum((-2, -1)) / (1 - target).sum((-2, -1)).clamp(min=1)
    return 0.5 * (inside + outside)


def focal(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss, mean over pixels; ``(..., H, W)`` -> ``(...)``."""
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    wrong = (torch.sigmoid(logits) - target).abs()
    weight = alpha * target + (1 - alpha) * (1 - target)
    return (weight * wrong**gamma * loss).mean((-2, -1))


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """1 - soft Dice per mask; ``(..., H, W)`` -> ``(...)``."""
    p = torch.sigmoid(logits)
    return 1 - (2 * (p * target).sum((-2, -1)) + 1) / (p.sum((-2, -1)) + target.sum((-2, -1)) + 1)


def mask_loss(logits: Tensor, target: Tensor, early: float) -> Tensor:
    """Dice plus cross-entropy per mask: balanced while ``early`` is 1, 20 x focal when it is 0."""
    loss = dice(logits, target)
    if early > 0:
        loss = loss + early * balanced(logits, target)
    return loss + (1 - early) * 20 * focal(logits, target) if early < 1 else loss


def iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of the thresholded masks; ``(..., H, W)`` -> ``(...)``."""
    found, true = logits > 0, target > 0.5
    return (found & true).sum((-2, -1)) / (found | true).sum((-2, -1)).clamp(min=1)


def prompt_losses(logits: Tensor, scores: Tensor, masks: Tensor, targets: Tensor, early: float) -> dict[str, Tensor]:
    """Losses of the masks and of the predicted IoUs.

    logits ``(B, P, 4, h, w)``, scores ``(B, P, 4)``, masks ``(B, M, h, w)`` in 0..1,
    targets ``(B, P, 4)``: which mask is the one asked for, the smallest, the next larger one, the largest.

    From small to large, as SAM's three masks: tokens 1, 2, 3 learn the smallest mask that holds the click, the next
    larger one and the largest (where there are two, the last two learn the same), token 0 the mask that was asked for.
    So no token always means the whole object. The predicted IoU is that with the mask asked for, so that it ranks the
    way a user's question does.
    """
    rows = torch.arange(masks.shape[0], device=masks.device)[:, None, None]
    wanted = masks[rows, targets]
    losses = mask_loss(logits, wanted, early)
    total = (losses * losses.new_tensor([0.5, 1.0, 1.0, 1.0])).sum(2)
    with torch.no_grad():
        true = iou(logits, wanted[:, :, :1])
    return {"mask": total.mean() / 3.5, "iou": F.mse_loss(scores, true)}


class Dense(nn.Module):
    """Training-only heads: which pixels belong together, and where the borders are.

    The encoder meets a gradient at every pixel instead of one through each prompt.
    """

    def __init__(self, width: int = 256, dim: int = 48):
        super().__init__()
        self.fine = nn.Conv2d(width // 4, 2 * dim, 1)
        self.deep = nn.Conv2d(width, 2 * dim, 1)
        self.border = nn.Conv2d(width // 8, 1, 1)
        self.offset = nn.Parameter(torch.full((2,), 2.0))

    def forward(
        self, s4: Tensor, s8: Tensor, s16: Tensor, objects: Tensor, parts: Tensor, complete: Tensor, anchors: int = 48
    ) -> dict[str, Tensor]:
        """objects, parts ``(B, S/4, S/4)`` ids -> losses of affinity (object and part) and of borders.

        complete ``(B,)``: 0 where not every thing has an id; such an image is left out.
        """
        code = self.fine(s8) + F.interpolate(self.deep(s16), scale_factor=2.0)
        whole = objects.long()
        piece = whole * 256 + parts.long()
        complete = complete / complete.sum().clamp(min=1)
        border = (self._border(self.border(s4).float()[:, 0], piece) * complete).sum()
        whole, piece = whole[:, ::2, ::2].flatten(1), piece[:, ::2, ::2].flatten(1)
        chosen = _anchors(whole, anchors)
        code = code.float().unflatten(1, (2, -1)).flatten(3)
        affinity = self._affinity(code[:, 0], whole, chosen, 0) + self._affinity(code[:, 1], piece, chosen, 1)
        return {"affinity": (affinity * complete).sum(), "border": border}

    def _affinity(self, code: Tensor, ids: Tensor, chosen: Tensor, which: int) -> Tensor:
        anchor = code.gather(2, chosen[:, None].expand(-1, code.shape[1], -1)).transpose(1, 2)
        apart = torch.cdist(anchor, code.transpose(1, 2).contiguous(), compute_mode="use_mm_for_euclid_dist").square()
        logits = self.offset[which] - apart / code.shape[1] ** 0.5
        same = (ids.gather(1, chosen)[:, :, None] == ids[:, None]).float()
        logits, same = logits[..., None], same[..., None]
        return (0.5 * balanced(logits, same) + 0.5 * dice(logits, same)).mean(1)

    @staticmethod
    def _border(logits: Tensor, ids: Tensor) -> Tensor:
        edge = torch.zeros_like(logits)
        edge[:, :, 1:] += ids[:, :, 1:] != ids[:, :, :-1]
        edge[:, 1:] += ids[:, 1:] != ids[:, :-1]
        return balanced(logits, edge.clamp(max=1))


def _anchors(ids: Tensor, count: int) -> Tensor:
    """``(B, count)`` pixel indices, drawn evenly over the ids present, mostly off the background."""
    onehot = F.one_hot(ids, 256).sum(1).clamp(min=1)
    weight = 1.0 / onehot.gather(1, ids).float()
    weight = torch.where(ids > 0, weight, 0.25 * weight)
    return torch.multinomial(weight, count, replacement=True)
