"""Tiled inference of a region map: the logits of the whole image and of overlapping tiles, averaged.

An adapter with a map (`tailor`) predicts without a prompt from one embedding, on the grid of the mask logits. Two
options improve that on some objects and not on others, so each fit selects them on held-out images
(`fitting.select_inference`):

* *Tiles.* A tile shows an object with more pixels.
* *Boxes.* The base's decoder is good at outlines. It is prompted with the box of each connected part of the map, and
  its logits are averaged with the map's.

Not from a paper; docs/research/tailor.md has the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.bases import Base
from samtailor.bases.decoder import PromptDecoder, is_standard
from samtailor.data.augment import View
from samtailor.data.tile_views import OVERLAP, views
from samtailor.data.transform import Frame
from samtailor.masks.contours import part_boxes
from samtailor.structures import Features, Prompts, TilingPlan, Tokens

LOGIT_LIMIT = 8.0
"""Logits are clamped to this range so that neither map nor decoder dominates the average."""
_MAX_PARTS = 32  # largest parts of a map that the decoder is prompted with
_MIN_AREA = 16  # pixels of the model frame; smaller parts are not used as prompts
_FADE = OVERLAP / 2  # fraction of a tile's side over which its weight falls toward an inner edge

Map = Callable[[Features], Tensor]
"""Features of B views to logits (B, 1, h, w)."""


def tile_logits(
    region_map: Map,
    base: Base,
    features: Features,
    frame: Frame,
    boxes: float,
    decoder: PromptDecoder | None = None,
) -> Tensor:
    """Logits (1, 1, h, w) of one view of an image, averaged with the decoder's logits for the boxes of its parts.

    Args:
        region_map: the map.
        base: its decoder is prompted with boxes.
        features: of the view, one row.
        frame: of the view.
        boxes: weight of the decoder's logits relative to the map's weight of 1; 0 leaves the decoder out.
        decoder: a faster form of the decoder of the base; None: the decoder itself, which may have adapters inside.
    """
    logits = region_map(features)
    if not boxes:
        return logits
    decoded = _decode_boxes(logits, base, features, frame, decoder)
    logits = logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    return logits if decoded is None else (logits + boxes * decoded.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)) / (1 + boxes)


def merge_tiles(parts: Sequence[tuple[View, Tensor]], frame: Frame) -> Tensor:
    """Merge the logits of the tiles of an image (or of the whole image) by a weighted mean.

    Args:
        parts: views of the image with their logits (1, 1, h, w), each in the model frame of its view.
        frame: of the whole image.

    Returns:
        (1, 1, n, n) in the model frame of the image; n is a multiple of the side of the mask logits, large enough that
        no tile loses resolution. Beyond the image (padding of SAM 1) the nearest logits are repeated.
    """
    zoom = max(1.0 / (view.crop[2] - view.crop[0]) for view, _ in parts)
    cells = frame.low_res * math.ceil(zoom)
    places = _places(frame, cells, parts[0][1])
    total = weights = torch.zeros((), device=parts[0][1].device)
    for view, logits in parts:
        grid, weight = _within(places, view, frame)
        resampled = F.grid_sample(
            logits.float(), grid[None], mode="bilinear", padding_mode="border", align_corners=False
        )
        total, weights = total + resampled * weight, weights + weight
    return total / weights


def tiled_logits(
    tiling: TilingPlan,
    region_map: Map,
    base: Base,
    frame: Frame,
    see: Callable[[View], Features],
    *,
    known: dict[tuple[str, float], Tensor] | None = None,
) -> Tensor:
    """Logits (1, 1, n, n) of the class in an image, in the model frame; n is that of the finest tiles.

    Args:
        tiling: numbers of tiles per side, whose logits are averaged, and the weight of the decoder.
        region_map: the map.
        base: its decoder is prompted with boxes.
        frame: of the image.
        see: returns the embedding of a view of the image, one row.
        known: logits by view and weight of the decoder, for several plans of one map on one image; it is extended.
    """
    known = {} if known is None else known
    decoder = PromptDecoder(base) if tiling.boxes and is_standard(base.model.mask_decoder) else None
    passes = []
    for tiles in tiling.tiles:
        parts = []
        for view in views(tiles)[:1] if tiles == 1 else views(tiles)[1:]:
            height, width = view.size(frame.height, frame.width)
            view_frame = replace(frame, height=height, width=width)
            key = (view.key, tiling.boxes)
            if key not in known:
                known[key] = tile_logits(region_map, base, see(view), view_frame, tiling.boxes, decoder)
            parts.append((view, known[key]))
        passes.append(parts[0][1] if tiles == 1 else merge_tiles(parts, frame))
    finest = max(logits.shape[-1] for logits in passes)
    fine = [F.interpolate(p.float(), (finest, finest), mode="bilinear", align_corners=False) for p in passes]
    return torch.stack(fine).mean(dim=0)


def _decode_boxes(
    logits: Tensor, base: Base, features: Features, frame: Frame, decoder: PromptDecoder | None
) -> Tensor | None:
    """Maximum of the decoder's logits for the boxes of the map's parts, (1, 1, h, w); None without parts."""
    height, width = frame.inner
    full = F.interpolate(logits.float(), (frame.size, frame.size), mode="bilinear", align_corners=False)
    mask = (full[0, 0, :height, :width] > 0).cpu().numpy()
    boxes = part_boxes(mask, smallest=_MIN_AREA)[:_MAX_PARTS]
    if not len(boxes):
        return None
    prompts = Prompts((frame.size, frame.size), boxes=torch.from_numpy(boxes).to(logits.device)[None])
    tokens = base.encode_prompts(prompts)
    if decoder is None:
        return base.decode(features, tokens).best_masks()[1].amax(dim=1, keepdim=True)
    passes = tokens.sparse.split(decoder.prompts_per_pass(logits.device), dim=1)
    best = torch.cat([decoder(features, Tokens(sparse, tokens.dense)).best_masks()[1] for sparse in passes])
    return best.amax(dim=0)[None, None]


def _places(frame: Frame, cells: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns in the image of cells x cells places of the model frame, as fractions of its sides."""
    middle = (torch.arange(cells, device=like.device, dtype=torch.float32) + 0.5) * frame.size / cells
    height, width = frame.inner
    return (middle / height).clamp(max=1.0), (middle / width).clamp(max=1.0)


def _within(places: tuple[Tensor, Tensor], view: View, frame: Frame) -> tuple[Tensor, Tensor]:
    """The places in the model frame of a view for `grid_sample`, (n, n, 2) in -1 to 1, and its weight there, (n, n)."""
    top, bottom, left, right = view.edges(frame.height, frame.width)
    view_frame = replace(frame, height=bottom - top, width=right - left)
    sides = []
    for place, low, high, length, inner in zip(
        places, (top, left), (bottom, right), (frame.height, frame.width), view_frame.inner, strict=True
    ):
        fraction = (place * length - low) / (high - low)
        to_edge = torch.minimum(
            fraction if low > 0 else torch.ones_like(fraction),
            1 - fraction if high < length else torch.ones_like(fraction),
        )
        inside = (fraction >= 0) & (fraction <= 1)
        weight = torch.where(inside, (to_edge / _FADE).clamp(0.02, 1.0), torch.zeros_like(fraction))
        sides.append((2 * fraction * inner / frame.size - 1, weight))
    (y, down), (x, across) = sides
    grid = torch.stack([x[None].expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
    return grid, down[:, None] * across[None]


__all__ = ["LOGIT_LIMIT", "merge_tiles", "tile_logits", "tiled_logits"]
