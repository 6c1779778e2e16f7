"""Limit the masks of box prompts to their boxes.

A box says where the object ends. Mask decoders segment beyond it all the same where neighbours look alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from samtailor.adapters.tiled import LOGIT_LIMIT


def within_boxes(logits: Tensor, boxes: Tensor, margin: float, size: int) -> Tensor:
    """Mask logits that are clearly negative outside of the boxes.

    Args:
        logits: (B, P, M, h, w) of the masks of each prompt, in the model frame.
        boxes: (B, P, 4) x0, y0, x1, y1, pixels of the model frame.
        margin: each box is enlarged on each side by this share of its width and height, and by half a cell at least.
        size: side of the model frame, pixels.
    """
    height, width = logits.shape[-2:]
    x0, y0, x1, y1 = (one[..., None] for one in boxes.to(logits).unbind(dim=-1))
    columns, rows = _centres(width, size, logits), _centres(height, size, logits)
    dx = ((x1 - x0) * margin).clamp(min=size / width / 2)
    dy = ((y1 - y0) * margin).clamp(min=size / height / 2)
    inside_columns = (columns >= x0 - dx) & (columns <= x1 + dx)  # (B, P, w)
    inside_rows = (rows >= y0 - dy) & (rows <= y1 + dy)
    inside = inside_rows[..., :, None] & inside_columns[..., None, :]
    return torch.where(inside[:, :, None], logits, logits.clamp(max=-LOGIT_LIMIT))


def _centres(cells: int, size: int, like: Tensor) -> Tensor:
    """Centres of the cells of a side, pixels of the model frame."""
    return (torch.arange(cells, device=like.device, dtype=like.dtype) + 0.5) * (size / cells)


__all__ = ["within_boxes"]
