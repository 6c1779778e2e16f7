"""Targets and loss of the proposal head.

Loss: CenterNet's penalty-reduced focal loss (arXiv 1904.07850, Eq. 1, alpha 2, beta 4) on the heat map; in the cells
around each peak generalized IoU (arXiv 1902.09630) and the L1 distance of the logarithms of the four sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.data.transform import Frame
from samtailor.masks import interior
from samtailor.structures import Annotation

_MIN_DEPTH = 0.7  # of the largest interior distance, for the point of a proposal


def place(mask: np.ndarray) -> tuple[float, float]:
    """The point of a proposal for a mask, (x, y) pixel indices: the pixel deep inside nearest to the center of its box.

    The deepest pixel itself is not a learnable target, since in elongated shapes many pixels are almost equally deep.
    """
    distances, (x0, y0) = interior.distance(mask)
    rows, columns = np.nonzero(distances >= _MIN_DEPTH * distances.max())
    height, width = distances.shape
    best = np.argmin(((columns - (width - 1) / 2) / width) ** 2 + ((rows - (height - 1) / 2) / height) ** 2)
    return float(x0 + columns[best]), float(y0 + rows[best])


@dataclass(frozen=True)
class Target:
    """Target for one view of one image, C classes, s x s cells.

    Args:
        heat: float32 (C, s, s), a Gaussian around the point of each object, 1 at the point.
        sides: float32 (C, 4, s, s), distances to left, top, right, bottom, as fractions of the frame.
        near: bool (C, s, s), cells where `sides` is defined.
        ignored: bool (C, s, s), regions of many objects ("crowd"), which are neither object nor background.
    """

    heat: Tensor
    sides: Tensor
    near: Tensor
    ignored: Tensor


def target(annotations: Sequence[Annotation], classes: Sequence[str], frame: Frame, cells: int) -> Target:
    """The target of an image. Large objects are drawn first, so that small ones in front keep their cells."""
    shape = (len(classes), cells, cells)
    heat, sides = torch.zeros(shape), torch.zeros(len(classes), 4, cells, cells)
    made = Target(heat, sides, torch.zeros(shape).bool(), torch.zeros(shape).bool())
    for annotation in sorted(annotations, key=lambda a: -a.area):
        if annotation.label not in classes or not annotation.area:
            continue
        index = classes.index(annotation.label)
        if annotation.crowd:
            made.ignored[index] |= _cells(frame.mask(annotation.mask), cells)
        else:
            _draw(made, index, annotation, frame, cells)
    return made


def loss(heat: Tensor, sides: Tensor, wanted: Target) -> Tensor:
    """Sum of the losses of heat map and boxes.

    Args:
        heat: (B, C, s, s) logits.
        sides: (B, C, 4, s, s) distances.
        wanted: targets, stacked along B.
    """
    chance = heat.sigmoid().clamp(1e-6, 1 - 1e-6)
    peak = wanted.heat == 1
    right = (1 - chance) ** 2 * chance.log() * peak
    wrong = (1 - wanted.heat) ** 4 * chance**2 * (1 - chance).log() * ~(peak | wanted.ignored)
    total = -(right + wrong).sum() / peak.sum().clamp(min=1)
    if not wanted.near.any():
        return total
    mine = sides.movedim(2, -1)[wanted.near]
    true = wanted.sides.movedim(2, -1)[wanted.near]
    return total + (1 - _giou(mine, true)).mean() + 0.5 * (mine.log() - true.log()).abs().mean()


def _draw(made: Target, index: int, annotation: Annotation, frame: Frame, cells: int) -> None:
    cell = frame.size / cells
    x, y = ((v + 0.5) * s for v, s in zip(place(annotation.mask), frame.scale, strict=True))
    x0, y0, x1, y1 = (v * s for v, s in zip(annotation.box, frame.scale * 2, strict=True))
    column, row = (min(int(v / cell), cells - 1) for v in (x, y))
    rows, columns = torch.arange(cells)[:, None], torch.arange(cells)[None]
    # sigma is an eighth of the side of the box, at least 0.6 cells so that neighboring cells have a target
    wide, high = (max((b - a) / cell / 8, 0.6) for a, b in ((x0, x1), (y0, y1)))
    blob = torch.exp(-((columns - column) ** 2) / (2 * wide**2) - (rows - row) ** 2 / (2 * high**2))
    made.heat[index] = torch.maximum(made.heat[index], blob)
    u, v = (columns + 0.5) * cell, (rows + 0.5) * cell
    near = ((columns - column).abs() <= 1) & ((rows - row).abs() <= 1)
    least = cell / 8  # the center of a cell may lie outside a small box
    grid = torch.ones(cells, cells)
    reach = torch.stack([(v * grid).clamp(min=least) for v in (u - x0, v - y0, x1 - u, y1 - v)]) / frame.size
    made.sides[index] = torch.where(near, reach, made.sides[index])
    made.near[index] |= near


def _cells(mask: np.ndarray, cells: int) -> Tensor:
    """Cells that overlap with a mask of the model frame."""
    side = -(-mask.shape[0] // cells)
    return F.max_pool2d(torch.from_numpy(mask)[None].float(), side)[0, :cells, :cells] > 0


def _giou(one: Tensor, other: Tensor) -> Tensor:
    """Generalized IoU of boxes that are given as distances (N, 4) from a common point."""
    areas = [(d[:, 0] + d[:, 2]) * (d[:, 1] + d[:, 3]) for d in (one, other)]
    low, high = torch.minimum(one, other), torch.maximum(one, other)
    common = (low[:, 0] + low[:, 2]) * (low[:, 1] + low[:, 3])
    hull = (high[:, 0] + high[:, 2]) * (high[:, 1] + high[:, 3])
    union = areas[0] + areas[1] - common
    return common / union - (hull - union) / hull


__all__ = ["Target", "loss", "place", "target"]
