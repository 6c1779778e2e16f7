"""Masks for a click in a zoomed view: the visible part of the image is encoded at the full resolution of the model.

A base model sees an image at one size, so that a small object covers few cells of its mask. In a crop of what is on the
screen, with a margin, it covers many. The mask is pasted back pixel by pixel. If the click refines a mask, what lies
outside the crop is kept, and the mask within the crop is given to the model as a prompt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samtailor.bases import Base
from samtailor.cache.bounded import BoundedCache
from samtailor.data.augment import View
from samtailor.data.image import decode_image
from samtailor.data.transform import Frame
from samtailor.predict.postprocessing import window_of
from samtailor.predict.predictor import BASE, Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.predict.windows import Windows
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.embeddings import Embedding
from samtailor.structures import Features, Prompts
from samtailor.workbench.masks import mask_to_json

Box = Sequence[float]
MARGIN = 0.15
"""Part of the visible width and height that is added on each side."""
WHOLE = 0.75
"""A crop of more than this part of both sides brings nothing: the whole image is used."""
SMALLEST = 48
"""Smallest side of a crop, pixels."""
SURE = 10.0
"""Logit of a pixel inside or outside a mask that is given as a prompt."""
_MAX_CPU_SIZE = 512  # px, side of the model frame above which an encode on a CPU is too slow for a click
_FEATURE_BYTES = 512 * 2**20
_PIXEL_BYTES = 256 * 2**20
_ANSWERS = 256  # low-resolution logits that are kept, 64 kB each for a grid of 128


@dataclass(frozen=True)
class Refinement:
    """The present mask of an object that a prompt refines.

    Args:
        mask: bool (height, width), image frame.
        answer: "answer" of the candidate that the mask is; None for any other mask.
    """

    mask: np.ndarray
    answer: str | None = None


class ViewCrops:
    """Predictions on crops, with the embeddings of the crops used last."""

    def __init__(self) -> None:
        self._features: BoundedCache[tuple[str, str, str], Features] = BoundedCache(
            max_size=_FEATURE_BYTES, size=_feature_bytes, thread_safe=True
        )
        self._pixels: BoundedCache[str, np.ndarray] = BoundedCache(
            max_size=_PIXEL_BYTES, size=lambda pixels: pixels.nbytes, thread_safe=True
        )
        self._answers: BoundedCache[str, tuple[str, Tensor]] = BoundedCache(_ANSWERS, thread_safe=True)
        self._count = 0

    def encode(self, loaded: LoadedAdapter, predictor: Predictor, embedding: Embedding, view: View) -> Features:
        """Embedding of a crop, computed if it is not kept.

        Args:
            loaded: adapter, or the base model.
            predictor: predictor of the adapter.
            embedding: of the whole image.
            view: the crop.
        """
        key = (embedding.id, loaded.encoder, view.key)
        if (kept := self._features.get(key)) is not None:
            return kept
        pixels = self._decoded(embedding)
        predictor.set_features(embedding.features, embedding.height, embedding.width, image=lambda: pixels)
        return self._features.put(key, predictor.view_features(view, loaded.name))

    def usable(self, loaded: LoadedAdapter, embedding: Embedding, view: View) -> bool:
        """Whether a crop is encoded already, or fast to encode."""
        return (embedding.id, loaded.encoder, view.key) in self._features or fast(loaded.base)

    def candidates(
        self, loaded: LoadedAdapter, predictor: Predictor, embedding: Embedding, prompt: ObjectPrompt,
        view: View | None, refined: Refinement | None, *, every: bool,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Candidate masks as `masks.candidate_to_json` returns them, best first; with "answer", and "cropped": True.

        Args:
            loaded, predictor, embedding: as for `encode`; the image is set on the predictor.
            prompt: clicks or a box, pixels of the image, inside the crop.
            view: the crop; None for the whole image.
            refined: the mask that the prompt refines.
            every: all candidates; otherwise only the best one.
        """
        size = (embedding.height, embedding.width)
        top, bottom, left, right = (0, size[0], 0, size[1]) if view is None else view.edges(*size)
        if view is not None:
            features = self.encode(loaded, predictor, embedding, view)
            predictor.set_features(features, bottom - top, right - left)
        prompts = prompt.moved(-left, -top).prompts((bottom - top, right - left))
        where = f"{embedding.id} {loaded.name} {'' if view is None else view.key}"
        if refined is not None:
            prompts = self._with_mask(prompts, refined, where, predictor.frame, (top, bottom, left, right))
        output = predictor.decode(prompts, loaded.name or BASE)
        logits, scores = output.candidate_logits()[0, 0].float().cpu(), output.candidate_iou()[0, 0].float().cpu()
        order = scores.argsort(descending=True).tolist()[: None if every else 1]
        outside = np.zeros(size, np.uint8, order="F") if refined is None else refined.mask.astype(np.uint8, order="F")
        outside[top:bottom, left:right] = 0
        windows, rows = Windows(), []
        for i in order:
            window = windows.mask(logits[i], predictor.frame)
            mask, x, y = window_of(predictor, window, prompts, loaded.name or BASE)
            whole = outside.copy(order="F")
            whole[top + y : top + y + mask.shape[0], left + x : left + x + mask.shape[1]] = mask
            score = round(min(max(float(scores[i]), 0.0), 1.0), 6)
            row = {**mask_to_json(whole), "predicted_iou": score, "answer": self._keep(where, logits[i])}
            rows.append(row | ({} if view is None else {"cropped": True}))
        return rows

    def _keep(self, where: str, logits: Tensor) -> str:
        with self._answers.lock:
            self._count += 1
            key = f"m{self._count}"
            self._answers.put(key, (where, logits))
        return key

    def _with_mask(
        self, prompts: Prompts, refined: Refinement, where: str, frame: Frame, edges: tuple[int, int, int, int]
    ) -> Prompts:
        """The prompts with the present mask: the logits it was cut from if the frame is the same, else its pixels."""
        kept_where, kept = self._answers.get(refined.answer or "") or ("", None)
        if kept is None or kept_where != where or kept.shape[-1] != frame.low_res:
            top, bottom, left, right = edges
            inside = refined.mask[top:bottom, left:right]
            if not inside.any():
                return prompts
            kept = (2 * frame.target(inside) - 1) * SURE
        return replace(prompts, masks=kept[None, None])

    def _decoded(self, embedding: Embedding) -> np.ndarray:
        kept = self._pixels.get(embedding.id)
        return self._pixels.put(embedding.id, decode_image(embedding.data, embedding.id)) if kept is None else kept


def view_crop(visible: Box, size: tuple[int, int], prompt: ObjectPrompt) -> View | None:
    """The crop for a visible part of an image: with a margin, and so large that it contains the prompt.

    Its edges lie on a grid, so that small movements of the view need no new embedding.

    Args:
        visible: (x0, y0, x1, y1), pixels of the image.
        size: (height, width) of the image.
        prompt: clicks or a box, pixels of the image.

    Returns:
        None if it is about the whole image.
    """
    height, width = size
    xs = [x for x, _, _ in prompt.clicks] + ([] if prompt.box is None else [prompt.box[0], prompt.box[2]])
    ys = [y for _, y, _ in prompt.clicks] + ([] if prompt.box is None else [prompt.box[1], prompt.box[3]])
    x0, x1 = _side(visible[0], visible[2], xs, width)
    y0, y1 = _side(visible[1], visible[3], ys, height)
    if (x1 - x0) >= WHOLE * width and (y1 - y0) >= WHOLE * height:
        return None
    # a quarter of a pixel inside, as `View.edges` rounds outwards
    return View(crop=((x0 + 0.25) / width, (y0 + 0.25) / height, (x1 - 0.25) / width, (y1 - 0.25) / height))


def _side(first: float, last: float, positions: Sequence[float], length: int) -> tuple[int, int]:
    """First and last pixel (exclusive) of one axis of a crop."""
    first, last = max(0.0, min(first, length - 1)), min(float(length), max(last, 1.0))
    margin = MARGIN * max(last - first, 1.0)
    first, last = first - margin, last + margin
    for position in positions:
        first, last = min(first, position - margin), max(last, position + 1 + margin)
    lacking = max(0.0, SMALLEST - (last - first)) / 2
    first, last = first - lacking, last + lacking
    step = 2 ** max(0, math.floor(math.log2((last - first) / 16)))
    low, high = max(0, math.floor(first / step) * step), min(length, math.ceil(last / step) * step)
    return min(low, length - 1), max(high, low + 1)


def fast(base: Base) -> bool:
    """Whether an image is encoded quickly enough for a click."""
    device: torch.device = next(base.model.parameters()).device
    return base.size <= _MAX_CPU_SIZE or device.type != "cpu"


def _feature_bytes(features: Features) -> int:
    return sum(level.numel() * level.element_size() for level in features.tensors())


__all__ = ["MARGIN", "SMALLEST", "WHOLE", "Refinement", "ViewCrops", "fast", "view_crop"]
