"""Where a class is, found in several looks at one image: the whole of it, and closer, in overlapping tiles.

An adapter with a map (`tailor`) answers without a prompt from one embedding, on the grid of the mask logits. Two things
make that answer better on some objects and worse on others, so each fit chooses for itself (`fit.settle`):

* *Closer looks.* A tile shows an object with more pixels, and says once more what the whole image says.
* *Boxes.* The base's decoder knows where things end. It is asked with the box of each connected part of the map, and
  its logits are averaged with the map's.

No paper's part; docs/tailor.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.bases import Base
from samtailor.data.augment import View
from samtailor.data.tile_views import OVERLAP, views
from samtailor.data.transform import Frame
from samtailor.masks.contours import part_boxes
from samtailor.structures import Features, Prompts, TilingPlan

LOGIT_LIMIT = 8.0
"""A logit beyond this says nothing more: neither map nor decoder outvotes the other by shouting."""
_PARTS = 32  # largest parts of a map that the decoder is asked about
_SPECK = 16  # pixels of the model frame; a smaller part is not asked about
_FADE = OVERLAP / 2  # share of a tile's side over which it counts less towards an inner edge

Map = Callable[[Features], Tensor]
"""Features of B views to logits (B, 1, h, w)."""


def tile_logits(found: Map, base: Base, features: Features, frame: Frame, boxes: float) -> Tensor:
    """One look: logits (1, 1, h, w) of the map in a view (features of one row, its frame), checked with boxes."""
    logits = found(features)
    if not boxes:
        return logits
    told = _in_boxes(logits, base, features, frame)
    logits = logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    return logits if told is None else (logits + boxes * told.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)) / (1 + boxes)


def merge_tiles(found: Sequence[tuple[View, Tensor]], frame: Frame) -> Tensor:
    """Looks of one kind (all tiles of a grid, or the whole image) as logits of the whole image.

    Args:
        found: views of the image with their logits (1, 1, h, w), each in the model frame of its view.
        frame: of the whole image.

    Returns:
        (1, 1, n, n) in the image's model frame; n is so many times the side of the mask logits that no tile loses
        cells. Beyond the image (padding of SAM 1) the nearest logits stand.
    """
    closer = max(1.0 / (view.crop[2] - view.crop[0]) for view, _ in found)
    cells = frame.low_res * math.ceil(closer)
    total, weights = 0.0, 0.0
    places = _places(frame, cells, found[0][1])
    for view, logits in found:
        grid, weight = _within(places, view, frame)
        seen = F.grid_sample(logits.float(), grid[None], mode="bilinear", padding_mode="border", align_corners=False)
        total, weights = total + seen * weight, weights + weight
    return total / weights


def tiled_logits(
    tiling: TilingPlan,
    found: Map,
    base: Base,
    frame: Frame,
    see: Callable[[View], Features],
) -> Tensor:
    """Logits (1, 1, n, n) of the class in an image, model frame; n as of the finest look.

    Args:
        looking: how to look.
        found: the map.
        base: the base, its decoder is asked about boxes.
        frame: of the image.
        see: gives the embedding of a view of the image, one row.
    """
    kinds = []
    for tiles in tiling.tiles:
        shown = views(tiles)[:1] if tiles == 1 else views(tiles)[1:]
        parts = []
        for view in shown:
            height, width = view.size(frame.height, frame.width)
            own = replace(frame, height=height, width=width)
            parts.append((view, tile_logits(found, base, see(view), own, tiling.boxes)))
        kinds.append(parts[0][1] if tiles == 1 else merge_tiles(parts, frame))
    finest = max(kind.shape[-1] for kind in kinds)
    fine = [F.interpolate(kind.float(), (finest, finest), mode="bilinear", align_corners=False) for kind in kinds]
    return torch.stack(fine).mean(dim=0)


def _in_boxes(logits: Tensor, base: Base, features: Features, frame: Frame) -> Tensor | None:
    """The decoder's logits (1, 1, h, w) for the boxes of the map's parts, the highest of all; None without a part."""
    height, width = frame.inner
    full = F.interpolate(logits.float(), (frame.size, frame.size), mode="bilinear", align_corners=False)
    mask = (full[0, 0, :height, :width] > 0).cpu().numpy()
    asked = part_boxes(mask, smallest=_SPECK)[:_PARTS]
    if not len(asked):
        return None
    boxes = torch.from_numpy(asked).to(logits.device)[None]
    output = base.decode(features, base.encode_prompts(Prompts((frame.size, frame.size), boxes=boxes)))
    best = output.candidate_iou()[0].argmax(dim=1)
    chosen = output.candidate_logits()[0][torch.arange(len(asked), device=best.device), best]
    return chosen.amax(dim=0)[None, None]


def _places(frame: Frame, cells: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Of each of cells x cells places of the model frame its row and column in the image, as shares of its sides."""
    middle = (torch.arange(cells, device=like.device, dtype=torch.float32) + 0.5) * frame.size / cells
    height, width = frame.inner
    return (middle / height).clamp(max=1.0), (middle / width).clamp(max=1.0)


def _within(places: tuple[Tensor, Tensor], view: View, frame: Frame) -> tuple[Tensor, Tensor]:
    """For `grid_sample`: the places in a view's model frame, (n, n, 2) in -1 to 1, and what the view counts there."""
    top, bottom, left, right = view.edges(frame.height, frame.width)
    own = replace(frame, height=bottom - top, width=right - left)
    sides = []
    for place, low, high, length, inner in zip(
        places, (top, left), (bottom, right), (frame.height, frame.width), own.inner, strict=True
    ):
        share = (place * length - low) / (high - low)
        to_edge = torch.minimum(
            share if low > 0 else torch.ones_like(share), 1 - share if high < length else torch.ones_like(share)
        )
        weight = torch.where((share >= 0) & (share <= 1), (to_edge / _FADE).clamp(0.02, 1.0), torch.zeros_like(share))
        sides.append((2 * share * inner / frame.size - 1, weight))
    (y, down), (x, across) = sides
    grid = torch.stack([x[None].expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
    return grid, down[:, None] * across[None]


__all__ = ["LOGIT_LIMIT", "merge_tiles", "tile_logits", "tiled_logits"]
