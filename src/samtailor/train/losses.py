"""Losses, as pure functions. Every term is computed per mask over the valid cells and averaged over masks last.

Letters as in `structures`: B images, P prompts, M masks, h w low-resolution cells, K contour points.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.errors import InputError
from samtailor.registry import choose
from samtailor.structures import Batch, Output

SUPERVISE = ("all", "best")
MATCHING = ("index", "cyclic", "symmetric", "paper")


def focal(logits: Tensor, targets: Tensor, valid: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss (Lin et al., arXiv 1708.02002, Eq. 5), mean over the valid cells of each mask.

    FL = alpha_t |t - p|^gamma BCE(p, t), alpha_t = alpha t + (1 - alpha)(1 - t), p = sigmoid(logit). For t in {0, 1},
    |t - p| = 1 - p_t, the factor of the paper; for coverage t in between it is that of quality focal loss (Li et al.,
    arXiv 2006.04388, Eq. 3), smallest at p = t. The factor is applied per cell: a scalar factor on a mean BCE, as in
    some SAM training code, is not a focal loss. alpha and gamma are those of SAM 2 (the paper of SAM gives none).

    Args:
        logits: (B, P, M, h, w).
        targets: (B, P, 1, h, w) in [0, 1].
        valid: bool, broadcastable to the logits; False cells are ignored.

    Returns:
        (B, P, M).
    """
    bce = F.binary_cross_entropy_with_logits(logits, targets.expand_as(logits), reduction="none")
    factor = (targets - logits.sigmoid()).abs().pow(gamma)
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    return _sum(weight * factor * bce, valid) / _sum(torch.ones_like(logits), valid).clamp(min=1)


def dice(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Dice loss of each mask, 1 - (2 sum p t + 1) / (sum p + sum t + 1) (arXiv 1606.04797; SAM 2's form).

    It is computed per mask: over the flattened batch large masks would outweigh small ones. Shapes as in `focal`.
    """
    p = logits.sigmoid()
    return 1 - (2 * _sum(p * targets, valid) + 1) / (_sum(p, valid) + _sum(targets.expand_as(p), valid) + 1)


@torch.no_grad()
def measured_iou(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """IoU of the binarized mask (logit > 0) with the binarized target, (B, P, M), without gradient.

    A cell belongs to the target if at least half of it is covered; for an object too small for that, the cells of
    largest coverage do. The IoU of two empty masks is 1.
    """
    level = targets.amax(dim=(-2, -1), keepdim=True).clamp(max=0.5)
    true = (targets >= level) & (targets > 0)
    mask = logits > 0
    union = _sum((mask | true).float(), valid)
    return torch.where(union > 0, _sum((mask & true).float(), valid) / union.clamp(min=1), 1.0)


def segmentation_loss(
    output: Output,
    batch: Batch,
    *,
    supervise: str = "all",
    multimask_dice_weight: float = 0.0,
    focal_weight: float = 20.0,
    dice_weight: float = 1.0,
    iou_weight: float = 1.0,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> dict[str, Tensor]:
    """Training loss of SAM (arXiv 2304.02643, appendix A; Kim et al., arXiv 2403.09199, 4.3: 20:1 and IoU loss).

    L = min over the multimask outputs of (20 focal + dice) + multimask_dice_weight * mean over them of dice
    + MSE(predicted IoU, measured IoU). Token 0, which is not used for a single click, takes no part. With
    multimask_dice_weight = 0 it is the loss of SAM.

    Args:
        output: (B, P, M, h, w) logits and (B, P, M) predicted IoU; `output.candidates` are supervised.
        batch: targets (B, P, h, w) and valid (B, 1, h, w).
        supervise: the IoU head learns from "all" candidates, or from the "best" only. The paper leaves this open; a
            candidate that is never supervised keeps the confidence of the base and then wins by predicted IoU, hence
            "all".
        multimask_dice_weight: weight of the mean Dice loss of all candidates, added to the loss of the best one. The
            minimum of SAM is for ambiguous clicks; the object of an adapter is known, and if every candidate learns
            it, the choice by predicted IoU matters less. Only Dice is averaged, because focal is a mean over the
            image: that of a candidate a hundred times as large as the object dominates and leads to empty masks.
        focal_weight, dice_weight, iou_weight: weights of the terms.
        alpha, gamma: parameters of the focal loss.

    Returns:
        "loss" (scalar, with gradient) and its parts "focal", "dice", "iou" (scalars, detached), unweighted.

    Raises:
        InputError: unknown `supervise`, or negative `multimask_dice_weight`.
    """
    choose("supervise", supervise, SUPERVISE)
    if not multimask_dice_weight >= 0:
        raise InputError(f"multimask_dice_weight must be 0 or more, got {multimask_dice_weight}.")
    logits, predicted = output.candidate_logits().float(), output.candidate_iou().float()
    targets, valid = batch.targets.float().unsqueeze(2), batch.valid.unsqueeze(2)
    focals, dices = focal(logits, targets, valid, alpha=alpha, gamma=gamma), dice(logits, targets, valid)
    masks = focal_weight * focals + dice_weight * dices
    best = masks.argmin(dim=-1, keepdim=True)
    errors = (predicted - measured_iou(logits, targets, valid)).square()
    iou = errors.mean(dim=-1) if supervise == "all" else errors.gather(-1, best).squeeze(-1)
    loss = (masks.gather(-1, best).squeeze(-1) + multimask_dice_weight * dices.mean(dim=-1) + iou_weight * iou).mean()
    parts = {"focal": focals.gather(-1, best), "dice": dices.gather(-1, best), "iou": iou}
    return {"loss": loss, **{name: value.detach().mean() for name, value in parts.items()}}


def region_loss(
    output: Output,
    batch: Batch,
    *,
    dice_weight: float = 0.8,
    per_mask: bool = False,
    iou_weight: float = 1.0,
) -> dict[str, Tensor]:
    """(1 - lambda) CE + lambda Dice over background and object (loss of BLO-SAM and SAMed; AM-SAM: lambda = 0.8).

    The single candidate is z = m1 - m0, so that the softmax over the channels is (1 - p, p), p = sigmoid(z), and CE is
    the binary cross entropy of z, mean over the valid cells of the batch. Dice is the mean over both channels of
    1 - (2 sum p g + e) / (sum p^2 + sum g^2 + e), e = 1e-5. Targets are the covered share of each cell; the reference
    code samples them to the nearest.

    Args:
        output: one candidate per prompt, logits z.
        batch: targets (B, P, h, w) and valid (B, 1, h, w).
        dice_weight: lambda.
        per_mask: compute Dice per mask; False sums over the batch as the reference code does, where large objects
            outweigh small ones (with one mask per batch both are the same).
        iou_weight: weight of the squared error of the predicted IoU; 0 if the IoU head does not learn.

    Returns:
        "loss" (scalar, with gradient), "ce", "dice" and, with a weight, "iou" (scalars, detached), unweighted.
    """
    logits, predicted = output.candidate_logits().float(), output.candidate_iou().float()
    targets, valid = batch.targets.float().unsqueeze(2), batch.valid.unsqueeze(2)
    cells = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    ce = _sum(cells, valid).sum() / _sum(torch.ones_like(logits), valid).sum().clamp(min=1)
    overlap = _channel_dice(logits.sigmoid(), targets, valid, per_mask)
    loss = (1 - dice_weight) * ce + dice_weight * overlap
    parts = {"ce": ce.detach(), "dice": overlap.detach()}
    if iou_weight:
        iou = (predicted - measured_iou(logits, targets, valid)).square().mean()
        loss, parts["iou"] = loss + iou_weight * iou, iou.detach()
    return {"loss": loss, **parts}


def cross_entropy(
    output: Output, batch: Batch, *, positive_weight: float = 1.0, iou_weight: float = 1.0
) -> dict[str, Tensor]:
    """Binary cross entropy of a single candidate, cells of the object weighted (Med-SA: 2), mean over the valid cells.

    Args:
        output: one candidate per prompt.
        batch: targets (B, P, h, w) and valid (B, 1, h, w).
        positive_weight: weight of the cells of the object.
        iou_weight: weight of the squared error of the predicted IoU.

    Returns:
        "loss" (scalar, with gradient), "ce" and "iou" (scalars, detached).
    """
    logits, predicted = output.candidate_logits().float(), output.candidate_iou().float()
    targets, valid = batch.targets.float().unsqueeze(2), batch.valid.unsqueeze(2)
    weight = logits.new_tensor(positive_weight)
    cells = F.binary_cross_entropy_with_logits(logits, targets, reduction="none", pos_weight=weight)
    ce = (_sum(cells, valid) / _sum(torch.ones_like(logits), valid).clamp(min=1)).mean()
    iou = (predicted - measured_iou(logits, targets, valid)).square().mean()
    return {"loss": ce + iou_weight * iou, "ce": ce.detach(), "iou": iou.detach()}


def _channel_dice(p: Tensor, targets: Tensor, valid: Tensor, per_mask: bool) -> Tensor:
    losses = []
    for q, g in ((1 - p, 1 - targets), (p, targets)):
        both, squares = _sum(q * g, valid), _sum(q.square() + g.square(), valid)
        if not per_mask:
            both, squares = both.sum(), squares.sum()
        losses.append((1 - (2 * both + 1e-5) / (squares + 1e-5)).mean())
    return torch.stack(losses).mean()


def contour_matching(points: Tensor, true: Tensor, *, kind: str = "index", unit: float = 1.0) -> Tensor:
    """Distance between contours of K points each, mean over contours.

    * "index": smooth-L1 between points of equal index. Correct if the predicted contour started as a jittered copy of
      the true one, so that the correspondence is known.
    * "cyclic": its minimum over the K cyclic shifts (PolyMatchingLoss of TextBPN++).
    * "paper": Kim et al. (arXiv 2403.09199) Eq. 4, mean over true points of the squared distance to the nearest
      predicted point. A predicted point that is not the nearest of any true point gets no gradient, and the order of
      the points has no effect.
    * "symmetric": mean of Eq. 4 and its reverse.

    Args:
        points: (..., K, 2) predicted, pixels.
        true: (..., K, 2), pixels.
        kind: one of the above.
        unit: length of one unit in pixels. The paper names no unit; in pixels Eq. 4 dominates the segmentation loss,
            in cells of the image embedding both have the same order of magnitude.

    Raises:
        InputError: unknown kind.
    """
    choose("matching", kind, MATCHING)
    points, true = points.float() / unit, true.float() / unit
    if kind == "index":
        return F.smooth_l1_loss(points, true)
    if kind == "cyclic":
        return _cyclic(points, true)
    squared = (true.unsqueeze(-2) - points.unsqueeze(-3)).square().sum(dim=-1)  # (..., true, predicted)
    one_sided = squared.amin(dim=-1).mean()
    return one_sided if kind == "paper" else (one_sided + squared.amin(dim=-2).mean()) / 2


def _cyclic(points: Tensor, true: Tensor) -> Tensor:
    count = true.shape[-2]
    steps = torch.arange(count, device=true.device)
    shifted = true[..., (steps[:, None] + steps[None, :]) % count, :]  # (..., shift, K, 2)
    each = F.smooth_l1_loss(points.unsqueeze(-3).expand_as(shifted), shifted, reduction="none").mean(dim=(-2, -1))
    return each.amin(dim=-1).mean()


def _sum(values: Tensor, valid: Tensor) -> Tensor:
    # masked_fill, not a product: 0 times an infinite value of the padding would be nan
    return values.masked_fill(~valid.expand_as(values), 0).sum(dim=(-2, -1))


__all__ = [
    "MATCHING",
    "SUPERVISE",
    "contour_matching",
    "cross_entropy",
    "dice",
    "focal",
    "measured_iou",
    "region_loss",
    "segmentation_loss",
]
