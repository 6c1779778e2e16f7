"""Zoomed masks for small objects: the prompt is repeated on a tile of the image that shows the object larger.

A base model sees the whole image at one resolution, and its masks have few cells for a small object. In one of 2 x 2
overlapping tiles an object has 1.7 times as many cells per side. Neither mask is always the better one
(docs/guides/annotate.md), so the zoomed mask is offered next to the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from samtailor.cache.bounded import BoundedCache
from samtailor.data.augment import View
from samtailor.data.tile_views import cut_off, views
from samtailor.data.transform import Frame
from samtailor.masks import interior
from samtailor.predict.postprocessing import window_of
from samtailor.predict.predictor import BASE, Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.windows import Windows
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.embeddings import Embedding
from samtailor.structures import Features
from samtailor.workbench.masks import candidate_to_json
from samtailor.workbench.view_crops import fast

TILES = 2
"""Tiles per side."""
SMALL = 16
"""Objects up to this size get a zoomed mask: longer side of the box in cells of the mask logits."""
_KEPT = 64  # tiles whose embeddings are kept, about 1 MB each


class Zoom:
    """Zoomed masks, with the embeddings of the tiles used last."""

    def __init__(self) -> None:
        self._kept: BoundedCache[tuple[str, str, str], Features] = BoundedCache(_KEPT, thread_safe=True)

    def candidate(
        self,
        loaded: LoadedAdapter,
        predictor: Predictor,
        embedding: Embedding,
        prompt: ObjectPrompt,
        box: list[int] | None,
    ) -> dict[str, Any] | None:
        """The best mask of the zoomed crop as `masks.candidate_to_json` returns it, with "zoomed": True.

        Args:
            loaded: the adapter, or the base model.
            predictor: predictor of the adapter, with the image set.
            embedding: embedding of the image.
            prompt: clicks or a box.
            box: box of the mask predicted on the whole image, (x0, y0, x1, y1), exclusive; None for an empty mask.

        Returns:
            None if the object is not small, no tile contains it, or its mask in the tile is empty or cut by an edge.
        """
        if box is None or prompt.promptless or loaded.own_encoder or not fast(loaded.base):
            return None
        size = (predictor.frame.height, predictor.frame.width)
        view = tile(prompt, box, size, loaded.base.low_res)
        if view is None:
            return None
        top, bottom, left, right = view.edges(*size)
        predictor.set_features(self._features(loaded, predictor, embedding, view), bottom - top, right - left)
        prompts = prompt.moved(-left, -top).prompts((bottom - top, right - left))
        output = predictor.decode(prompts, loaded.name or BASE)
        scores, logits = output.best_masks()
        window = Windows().mask(logits[0, 0].float().cpu(), predictor.frame)
        mask, x, y = window_of(predictor, window, prompts, loaded.name or BASE)
        if not mask.any() or cut_off(tuple(np.add(interior.box(mask), (x, y) * 2).tolist()), view, size):
            return None
        whole = Frame.of(loaded.base, *size)
        return {**candidate_to_json(mask, x + left, y + top, whole, float(scores[0, 0])), "zoomed": True}

    def _features(self, loaded: LoadedAdapter, predictor: Predictor, embedding: Embedding, view: View) -> Features:
        key = (embedding.id, loaded.encoder, view.key)
        kept = self._kept.get(key)
        return self._kept.put(key, predictor.view_features(view, loaded.name)) if kept is None else kept


def tile(prompt: ObjectPrompt, box: list[int], size: tuple[int, int], low_res: int) -> View | None:
    """The tile with the most space around a small object and its prompt.

    Args:
        prompt: clicks or a box, pixels of the image.
        box: box of the object, (x0, y0, x1, y1), exclusive.
        size: (height, width) of the image.
        low_res: side of the mask logits.

    Returns:
        None for a large object, or if no tile contains the object and the whole prompt.
    """
    x0, y0, x1, y1 = box
    height, width = size
    if max((x1 - x0) / width, (y1 - y0) / height) * low_res > SMALL:
        return None
    points = [(x, y) for x, y, _ in prompt.clicks] + ([] if prompt.box is None else [prompt.box[:2], prompt.box[2:]])
    xs, ys = [x0, x1, *(x for x, _ in points)], [y0, y1, *(y for _, y in points)]

    def margin(view: View) -> float:
        """Distance to the nearest edge inside the image, pixels."""
        top, bottom, left, right = view.edges(height, width)
        far = float(height + width)
        return min(
            min(xs) - left if left > 0 else far,
            right - max(xs) if right < width else far,
            min(ys) - top if top > 0 else far,
            bottom - max(ys) if bottom < height else far,
        )

    best = max(views(TILES)[1:], key=margin)
    return best if margin(best) > max(x1 - x0, y1 - y0) / 4 else None


__all__ = ["SMALL", "TILES", "Zoom", "tile"]
