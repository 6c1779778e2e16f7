"""Corrective clicks during training: a point in the error of the mask before, which is the mask prompt."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def chosen(logits: Tensor, iou: Tensor) -> Tensor:
    """Logits (B, P, h, w) of the mask of tokens 1 to 3 with the highest predicted IoU."""
    best = iou[:, :, 1:].argmax(2)[:, :, None, None, None].expand(-1, -1, 1, *logits.shape[-2:])
    return logits[:, :, 1:].gather(2, best)[:, :, 0]


@torch.no_grad()
def correct(before: Tensor, wanted: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """A click in the error region of each mask.

    Half of the prompts get a uniformly random cell of the error, as in SAM's training, the others one well inside a
    large error. Where there is no error, a cell of the wanted mask is clicked.

    Args:
        before: (B, P, h, w) logits.
        wanted: (B, P, h, w) in 0..1.
        size: side of the image, pixels.

    Returns:
        (B, P, 1, 2) points in pixels and (B, P, 1) labels.
    """
    rows, prompts, _height, width = before.shape
    true = wanted > 0.5
    error = (before > 0) != true
    error = torch.where(error.flatten(2).any(2)[..., None, None], error, true).float()
    inside = F.avg_pool2d(error, 7, 1, 3, count_include_pad=True) * error
    inside = inside * (inside > 0.7 * inside.amax((-2, -1), keepdim=True))
    uniform = torch.rand(rows, prompts, 1, 1, device=error.device) < 0.5
    weight = torch.where(uniform, error, inside).flatten(0, 1).flatten(1) + 1e-9
    cell = torch.multinomial(weight, 1)
    label = true.flatten(0, 1).flatten(1).gather(1, cell).long()
    place = torch.cat([cell % width, cell // width], 1).float() + torch.rand(len(cell), 2, device=cell.device)
    points = place * (size / width) - 0.5
    return points.view(rows, prompts, 1, 2), label.view(rows, prompts, 1)
