"""The network of the proposals, and how its answer becomes boxes and points of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.adapters.pyramid import Pyramid
from samtailor.data.transform import Frame
from samtailor.masks.nms import box_nms
from samtailor.structures import Features

if TYPE_CHECKING:
    from samtailor.bases import Base

CELLS = 64  # largest side of the heat map
FLOOR = 0.03  # raw heat below this is no candidate
MOST = 400  # candidates a class and image
OVERLAP = 0.5  # IoU of boxes of one class above which only the better one stays
COVERED = 0.7  # likewise the share of the smaller one that the larger one covers: a part is no second object
_PRIOR = 0.01  # heat at the start: without it the first steps are spent on silencing the background


class Head(Pyramid):
    """Image embedding to heat and box: a trunk at the embedding's grid, then doublings up to the heat map's.

    Args:
        dim: channels of the embedding.
        skips: channels of the base's high-resolution features at each doubling; 0 where there are none.
        classes: number of classes.
        width: channels of the trunk; each doubling halves them.
    """

    def __init__(self, dim: int, skips: Sequence[int], classes: int, width: int = 96) -> None:
        super().__init__(dim, skips, width, dropout=0.3)
        self.dim, self.skips, self.width = dim, tuple(skips), width
        self.heat, self.sides = (nn.Conv2d(self.channels, count, 1) for count in (classes, 4 * classes))
        nn.init.constant_(self.heat.bias, -math.log((1 - _PRIOR) / _PRIOR))
        self.to(memory_format=torch.channels_last)  # as the embeddings lie: a quarter faster on a CPU

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """Heat logits (B, C, s, s) and distances (B, C, 4, s, s) left, top, right, bottom, as shares of the frame.

        Distances are a class's own: a face and its nose have their middles in one cell.
        """
        x = self.climb(features)
        heat, sides = self.heat(x), self.sides(x)
        return heat, torch.exp((sides - 3.0).clamp(-9, 0.5)).unflatten(1, (-1, 4))


class Heads(nn.Module):
    """Several heads as one: the mean of their heat logits and of the logarithms of their distances.

    A head that saw a few dozen images depends much on its seed; the mean of four errs less than any of them.

    Args:
        members: of the same shape.
    """

    def __init__(self, members: Sequence[Head]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        first = members[0]
        self.dim, self.skips, self.width = first.dim, first.skips, first.width

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """As `Head` has it."""
        heat, sides = zip(*(member(features) for member in self.members), strict=True)
        return torch.stack(heat).mean(0), torch.stack([one.log() for one in sides]).mean(0).exp()


def make_head(base: Base, features: Features, classes: int, *, width: int = 96) -> Head:
    """A fresh head for embeddings like these."""
    return Head(base.dim, skip_channels(features), classes, width)


def skip_channels(features: Features) -> list[int]:
    """Channels of the high-resolution features at each doubling from the embedding's grid on; 0: none."""
    side, found = features.main.shape[-1], []
    while side * 2 <= CELLS and len(found) < 2:
        side *= 2
        found.append(next((skip.shape[1] for skip in features.skips if skip.shape[-1] == side), 0))
    return found


def decode(heat: Tensor, sides: Tensor, frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Peaks of the heat map to boxes (N, 4), points (N, 2) of the image frame, heat (N,) and class indices.

    Args:
        heat: (C, s, s) logits.
        sides: (C, 4, s, s) distances as shares of the frame's side.
        frame: geometry of the image.
    """
    chance = heat.sigmoid()
    peaks = torch.where(F.max_pool2d(chance[None], 3, 1, 1)[0] == chance, chance, torch.zeros(()))
    cell = frame.size / heat.shape[-1]
    parts: list[tuple[np.ndarray, ...]] = []
    for index, one in enumerate(peaks):
        score, place = one.flatten().topk(min(MOST, one.numel()))
        place = place[score >= FLOOR]
        score = score[score >= FLOOR].numpy()
        row, column = place // heat.shape[-1], place % heat.shape[-1]
        reach = sides[index, :, row, column] * frame.size
        x, y = (column + 0.5) * cell, (row + 0.5) * cell
        boxes = torch.stack([x - reach[0], y - reach[1], x + reach[2], y + reach[3]], 1)
        boxes, points = _in_image(boxes, torch.stack([x, y], 1), frame)
        inside = (points[:, 0] <= frame.width - 1) & (points[:, 1] <= frame.height - 1)
        inside &= (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes, points, score = boxes[inside], points[inside], score[inside]
        kept = box_nms(boxes, iou=OVERLAP, containment=COVERED)
        parts.append((boxes[kept], points[kept], score[kept], np.full(len(kept), index)))
    boxes, points, score, index = (np.concatenate(column) for column in zip(*parts, strict=True))
    return boxes, points, score, [int(i) for i in index]


def _in_image(boxes: Tensor, points: Tensor, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    scale = np.array(frame.scale, np.float32)
    edges = np.array([frame.width, frame.height] * 2, np.float32)
    boxes = np.clip(boxes.numpy() / np.tile(scale, 2), 0, edges)
    # points are pixel indices: the middle of pixel 0 lies half a pixel from the edge
    return boxes, np.maximum(points.numpy() / scale - 0.5, 0)


__all__ = ["CELLS", "Head", "Heads", "decode", "make_head", "skip_channels"]
