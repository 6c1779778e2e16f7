"""Predictions of one request on one embedded image; they run in a thread of the decoder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from samtailor.masks import interior
from samtailor.predict.instances import InstanceMask, predict_classes
from samtailor.predict.postprocessing import masks_of
from samtailor.predict.predictor import BASE, Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.serve.adapters import LoadedAdapter
from samtailor.serve.embeddings import Embedding
from samtailor.serve.refusals import Refused, TooSlow

_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)  # without tiles, prompt sources read the embedding only


@dataclass(frozen=True)
class Prediction:
    """One mask.

    Args:
        prompt: index of its prompt; in automatic mode its rank.
        label: of the prompt or the proposal, if there is one.
        score: that of the proposal if there is one, else the predicted IoU.
        iou: predicted IoU.
        area: pixels.
        box: tight, x0 y0 x1 y1, edges in pixels; None for an empty mask.
        shape: the mask, converted by the `form` of `Engine.segment`.
    """

    prompt: int
    label: str | None
    score: float
    iou: float
    area: int
    box: tuple[int, int, int, int] | None
    shape: Any


@dataclass(frozen=True)
class MaskRequest:
    """One request for masks; see `Engine.segment`.

    Args:
        loaded: the adapter, or the unchanged base.
        embedding: of the image.
        prompts: each is predicted separately.
        automatic: use the prompt source of the adapter instead of `prompts`.
        threshold: lowest score of a proposal.
        every: all candidate masks of each prompt instead of the best.
        form: converts a mask to `Prediction.shape`.
        seconds: that the request may take.
    """

    loaded: LoadedAdapter
    embedding: Embedding
    prompts: tuple[ObjectPrompt, ...]
    automatic: bool
    threshold: float | None
    every: bool
    form: Callable[[np.ndarray], Any]
    seconds: int

    @torch.no_grad()
    def predict(self) -> list[Prediction]:
        """Predict the masks.

        Raises:
            Refused: the adapter cannot do this, or the work takes too long.
            InputError: an invalid prompt for this image.
        """
        end = time.monotonic() + self.seconds
        with self.loaded.predictor() as predictor:
            self.embedding.set_on(predictor)
            if self.automatic:
                instances = predict_automatically(self.loaded, predictor, self.threshold)
                rows = ((i, one.prompt, one.mask, one.iou) for i, one in enumerate(instances))
                return self._within(end, rows)
            for prompt in self.prompts:
                _check(prompt, self.embedding, self.loaded)
            rows = (
                (i, prompt, mask, iou)
                for i, prompt in enumerate(self.prompts)
                for mask, iou in _masks(self.loaded, predictor, prompt, self.every)
            )
            return self._within(end, rows)

    def _within(self, end: float, rows: Iterable[tuple[int, ObjectPrompt, np.ndarray, float]]) -> list[Prediction]:
        """The predictions of masks as they are made; a request may not use a thread for longer than its time."""
        predictions = []
        for row in rows:
            predictions.append(self._prediction(*row))
            if time.monotonic() > end:
                raise TooSlow(
                    f"The request takes more than {self.seconds} s on an image of {self.embedding.width}x"
                    f"{self.embedding.height} px. Send fewer prompts at once, or a smaller image."
                )
        return predictions

    def _prediction(self, index: int, prompt: ObjectPrompt, mask: np.ndarray, iou: float) -> Prediction:
        box = None
        if mask.any():
            x0, y0, x1, y1 = interior.box(mask)
            box = (x0, y0, x1 + 1, y1 + 1)
        score = iou if prompt.score is None else prompt.score
        return Prediction(index, prompt.label, score, iou, int(np.count_nonzero(mask)), box, self.form(mask))


def predict_automatically(loaded: LoadedAdapter, predictor: Predictor, threshold: float | None) -> list[InstanceMask]:
    """Predict the objects of the current image as `predict --prompt auto` does, by falling rank.

    With several tiles per side, the last tile is set on the predictor afterwards.

    Raises:
        Refused: the adapter has no prompt source for automatic mode.
    """
    sources = loaded.sources(threshold)
    image = predictor.image if any(source.tiles > 1 for source in sources) else _NO_IMAGE
    return predict_classes(predictor, image, sources)


@torch.no_grad()
def _masks(
    loaded: LoadedAdapter, predictor: Predictor, prompt: ObjectPrompt, every: bool
) -> list[tuple[np.ndarray, float]]:
    """Masks of the current image with their predicted IoU: the best candidate, or all, by falling predicted IoU."""
    frame = predictor.frame
    prompts, adapter = prompt.prompts((frame.height, frame.width)), loaded.name or BASE
    output = predictor.decode(prompts, adapter)
    if every:
        order = output.candidate_iou()[0, 0].argsort(descending=True)
        low, scores = output.candidate_logits()[0, 0, order], output.candidate_iou()[0, 0, order]
    else:
        (scores,), (low,) = output.best_masks()
    masks = (masks_of(predictor, one[None, None], prompts, adapter)[0, 0] for one in low)
    return list(zip(masks, scores.tolist(), strict=True))


def _check(prompt: ObjectPrompt, embedding: Embedding, loaded: LoadedAdapter) -> None:
    if prompt.promptless and not loaded.promptless:
        raise Refused(
            "A prompt needs points or a box; only adapters that were fitted without prompts can do without one."
        )
    prompt.check((embedding.height, embedding.width))


__all__ = ["MaskRequest", "Prediction", "predict_automatically"]
