"""A closer look at small objects: the tile of the image that shows one with more pixels is asked the same.

A base sees the whole image at one size, and its masks have few cells for a small object. In one of 2 x 2 overlapping
tiles it has 1.7 times as many on a side. Nobody knows beforehand which look is the better one (docs/guides/annotate.md), so
the answer is offered beside the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from samtailor.bases import Base
from samtailor.cache.bounded import BoundedCache
from samtailor.data.augment import View
from samtailor.data.tile_views import views
from samtailor.data.transform import Frame
from samtailor.masks import interior
from samtailor.predict.instances import cut_off
from samtailor.predict.predictor import BASE, Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.windows import Windows
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.embeddings import Embedding
from samtailor.structures import Features
from samtailor.workbench.masks import told

TILES = 2
SMALL = 16
"""Cells of the mask logits up to which an object is looked at closer, the longer side of its box."""
_LARGEST = 512  # side of the model frame, px, beyond which an encode takes a CPU longer than a click may
_KEPT = 64  # tiles whose embeddings are kept, about 1 MB each


class Closer:
    """Tiles and their embeddings, of the images that were clicked on last."""

    def __init__(self) -> None:
        self._kept: BoundedCache[tuple[str, str], Features] = BoundedCache(_KEPT, thread_safe=True)

    def candidate(
        self, slot: LoadedAdapter, predictor: Predictor, embedding: Embedding, ask: ObjectPrompt, box: list[int] | None
    ) -> dict[str, Any] | None:
        """The best mask of the closer look as `masks.told` has it; None where there is none to offer.

        Args:
            slot: who answers.
            predictor: of the slot, with the image set.
            embedding: the image's.
            ask: clicks or a box.
            box: of the answer to the whole image, x0 y0 x1 y1, exclusive; None for an empty one.
        """
        if box is None or ask.promptless or slot.encoder or not _quick(slot.base):
            return None
        size = (predictor.frame.height, predictor.frame.width)
        view = tile(ask, box, size, slot.base.low_res)
        if view is None:
            return None
        top, bottom, left, right = view.edges(*size)
        predictor.set_features(self._features(slot.base, predictor, embedding, view), bottom - top, right - left)
        output = predictor.decode(ask.moved(-left, -top).prompts((bottom - top, right - left)), slot.name or BASE)
        scores = output.candidate_iou()[0, 0].float().cpu()
        best = int(scores.argmax())
        mask, x, y = Windows().mask(output.candidate_logits()[0, 0, best].float().cpu(), predictor.frame)
        if not mask.any() or cut_off(tuple(np.add(interior.box(mask), (x, y) * 2).tolist()), view, size):
            return None
        whole = Frame.of(slot.base, *size)
        return {**told(mask, x + left, y + top, whole, float(scores[best])), "closer": True}

    def _features(self, base: Base, predictor: Predictor, embedding: Embedding, view: View) -> Features:
        key = (embedding.id, view.key)
        kept = self._kept.get(key)
        return self._kept.put(key, predictor.view_features(view)) if kept is None else kept


def tile(ask: ObjectPrompt, box: list[int], size: tuple[int, int], low_res: int) -> View | None:
    """The tile of an image (height, width) that shows a small object best; None for a large one, or one that no tile
    has whole, with all that was asked."""
    x0, y0, x1, y1 = box
    height, width = size
    if max((x1 - x0) / width, (y1 - y0) / height) * low_res > SMALL:
        return None
    asked = [(x, y) for x, y, _ in ask.clicks] + ([] if ask.box is None else [ask.box[:2], ask.box[2:]])
    xs, ys = [x0, x1, *(x for x, _ in asked)], [y0, y1, *(y for _, y in asked)]

    def room(view: View) -> float:
        """Pixels to the nearest inner edge."""
        top, bottom, left, right = view.edges(height, width)
        far = float(height + width)
        return min(
            min(xs) - left if left > 0 else far,
            right - max(xs) if right < width else far,
            min(ys) - top if top > 0 else far,
            bottom - max(ys) if bottom < height else far,
        )

    best = max(views(TILES)[1:], key=room)
    return best if room(best) > max(x1 - x0, y1 - y0) / 4 else None


def _quick(base: Base) -> bool:
    device: torch.device = next(base.model.parameters()).device
    return base.size <= _LARGEST or device.type != "cpu"


__all__ = ["SMALL", "TILES", "Closer", "tile"]
