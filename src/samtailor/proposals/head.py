"""The network of the proposals, and the conversion of its output to boxes and points of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.adapters.pyramid import CompanionMaps, Pyramid
from samtailor.data.transform import Frame
from samtailor.masks.nms import box_nms
from samtailor.structures import Features

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.bases.companions import Companion

CELLS = 64  # largest side of the heat map
FLOOR = 0.03  # lowest heat of a candidate
MOST = 400  # candidates per class and image
OVERLAP = 0.5  # IoU of boxes of one class above which only the better one is kept
CONTAINMENT = 0.7  # likewise the fraction of the smaller box inside the larger: a part is not a second object
_PRIOR = 0.01  # initial heat (Lin et al., arXiv 1708.02002, 3.3): else the background dominates the first steps


class Head(Pyramid):
    """Image embedding to heat maps and boxes: a trunk at the grid of the embedding, then upsampling to the heat map's.

    Args:
        dim: channels of the embedding.
        skips: channels of the base's high-resolution features at each upsampling by 2; 0 where there are none.
        classes: number of classes.
        width: channels of the trunk; each upsampling halves them.
        companion: maps that are read beside the embedding.
    """

    def __init__(
        self,
        dim: int,
        skips: Sequence[int],
        classes: int,
        width: int = 96,
        companion: CompanionMaps | None = None,
    ) -> None:
        super().__init__(dim, skips, width, dropout=0.3, companion=companion)
        self.dim, self.skips, self.width = dim, tuple(skips), width
        self.heat, self.sides = (nn.Conv2d(self.channels, count, 1) for count in (classes, 4 * classes))
        if self.heat.bias is not None:
            nn.init.constant_(self.heat.bias, -math.log((1 - _PRIOR) / _PRIOR))
        _channels_last(self)

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """Heat logits (B, C, s, s) and distances (B, C, 4, s, s) to left, top, right, bottom (fractions of the frame).

        Each class has its own distances, since objects of two classes (a face, its nose) may share a cell.
        """
        x = self.climb(features)
        heat, sides = self.heat(x), self.sides(x)
        return heat, torch.exp((sides - 3.0).clamp(-9, 0.5)).unflatten(1, (-1, 4))


class Heads(nn.Module):
    """An ensemble of heads: the mean of their heat logits and of the logarithms of their distances.

    A head trained on a few dozen images depends much on its seed; the mean of four is better than each of them.

    Args:
        members: of the same shape.
    """

    def __init__(self, members: Sequence[Head]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.dim, self.skips, self.width = members[0].dim, members[0].skips, members[0].width

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """See `Head.forward`."""
        heat, sides = zip(*(member(features) for member in self.members), strict=True)
        return torch.stack(heat).mean(0), torch.stack([distances.log() for distances in sides]).mean(0).exp()


def make_head(
    base: Base, features: Features, classes: int, *, width: int = 96, companion: Companion | None = None
) -> Head:
    """An untrained head for embeddings like `features`, made with this companion."""
    return Head(base.dim, skip_channels(features), classes, width, CompanionMaps.of(companion, base))


def skip_channels(features: Features) -> list[int]:
    """Channels of the high-resolution features at each upsampling by 2 from the embedding's grid; 0: none."""
    side, channels = features.main.shape[-1], list[int]()
    while side * 2 <= CELLS and len(channels) < 2:
        side *= 2
        channels.append(next((skip.shape[1] for skip in features.skips if skip.shape[-1] == side), 0))
    return channels


def decode(heat: Tensor, sides: Tensor, frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Peaks of the heat map to boxes (N, 4), points (N, 2) of the image frame, heat (N,) and class indices.

    Args:
        heat: (C, s, s) logits.
        sides: (C, 4, s, s) distances as fractions of the frame's side.
        frame: geometry of the image.
    """
    chance = heat.sigmoid()
    peaks = torch.where(F.max_pool2d(chance[None], 3, 1, 1)[0] == chance, chance, torch.zeros(()))
    parts = [_candidates(scores, sides[index], frame) for index, scores in enumerate(peaks)]
    boxes, points, score = (np.concatenate(column) for column in zip(*parts, strict=True))
    return boxes, points, score, [index for index, part in enumerate(parts) for _ in part[2]]


def _candidates(peaks: Tensor, sides: Tensor, frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, points and heat of one class, from its peaks (s, s) and distances (4, s, s), by decreasing heat."""
    cell = frame.size / peaks.shape[-1]
    heat, place = peaks.flatten().topk(min(MOST, peaks.numel()))
    place, heat = place[heat >= FLOOR], heat[heat >= FLOOR]
    row, column = place // peaks.shape[-1], place % peaks.shape[-1]
    reach = sides[:, row, column] * frame.size
    x, y = (column + 0.5) * cell, (row + 0.5) * cell
    edges = torch.stack([x - reach[0], y - reach[1], x + reach[2], y + reach[3]], 1)
    boxes, points = _in_image(edges, torch.stack([x, y], 1), frame)
    inside = (points[:, 0] <= frame.width - 1) & (points[:, 1] <= frame.height - 1)
    inside &= (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    boxes, points, scores = boxes[inside], points[inside], heat.numpy()[inside]
    kept = box_nms(boxes, iou=OVERLAP, containment=CONTAINMENT)
    return boxes[kept], points[kept], scores[kept]


def _in_image(boxes: Tensor, points: Tensor, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and points of the model frame in the image frame, clipped."""
    scale = np.array(frame.scale, np.float32)
    edges = np.array([frame.width, frame.height] * 2, np.float32)
    clipped = np.clip(boxes.numpy() / np.tile(scale, 2), 0, edges)
    # points are pixel indices: the center of pixel 0 is half a pixel from the edge
    return clipped, np.maximum(points.numpy() / scale - 0.5, 0)


def _channels_last(module: Any) -> None:
    """Store the weights in the memory format of the embeddings, which is a quarter faster on a CPU."""
    module.to(memory_format=torch.channels_last)


__all__ = ["CELLS", "Head", "Heads", "decode", "make_head", "skip_channels"]
