"""Predict the objects of one image or tile with several adapters, in as few decoder passes as possible.

Only the window around each object is upsampled to the size of the image (`predict.windows`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from samtailor.adapters import pmm
from samtailor.bases.encoder import fast_encoder
from samtailor.errors import InputError
from samtailor.labelling._tiles import Piece
from samtailor.labelling._views import in_image, suppress_duplicates, tile_views
from samtailor.predict.batched import BatchedDecoder, BestMask, PromptBatch, prompt_batches
from samtailor.predict.predictor import Predictor
from samtailor.predict.windows import Windows
from samtailor.structures import Annotation, Features

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.predict.prompt import ObjectPrompt
    from samtailor.predict.source import AdapterSource
    from samtailor.segmenter import Segmenter


class MultiAdapterPredictor:
    """Predict with several adapters; may be called from any number of threads.

    Args:
        predictor: with the adapters loaded; its current image is not changed.
        sources: adapters with their prompt sources.
    """

    def __init__(self, predictor: Predictor, sources: Sequence[AdapterSource]) -> None:
        self._base = predictor.base
        self._adapters = {name: predictor.segmenter(name) for name in predictor.adapters}
        self._decoder, self._sources = BatchedDecoder(self._base, self._adapters), sources
        used = [self._adapters[source.adapter] for source in sources if source.adapter is not None]
        self._share_embedding = all(segmenter.encoder_frozen for segmenter in used)
        self._encoding, self._precision = fast_encoder(self._base), predictor.precision
        self._locks = [threading.Lock() for _ in sources]  # a detector need not be thread-safe
        self._local = threading.local()
        self._views = tile_views([source.tiles for source in sources])

    def predict(self, image: np.ndarray) -> tuple[list[list[Piece]], int]:
        """Predict the objects of each source, each once.

        Args:
            image: uint8 RGB (height, width, 3), or a tile.

        Returns:
            one list per source, in the frame of the image, and the number of predictions without a pixel.
        """
        empty, state = 0, self._thread_state()
        pieces: list[list[Piece]] = [[] for _ in self._sources]
        size = (image.shape[0], image.shape[1])
        for view, indices in self._views:
            for index, piece in self._predict_view(state, view.image(image), indices):
                if piece is None:
                    empty += 1
                elif (moved := in_image(piece, view, size, self._sources[index].tiles)) is not None:
                    pieces[index].append(moved)
        state.predictor.reset_image()
        return [suppress_duplicates(of_source, size) for of_source in pieces], empty

    def _predict_view(
        self, state: _ThreadState, image: np.ndarray, indices: Sequence[int]
    ) -> Iterator[tuple[int, Piece | None]]:
        """Predictions of some of the sources on an image or a view of it, in its frame; None for an empty mask."""
        state.set_image(image, shared=self._share_embedding)
        predictor, batches = state.predictor, []
        for index in indices:
            source = self._sources[index]
            with self._locks[index]:
                prompts = source.propose(predictor, image)
            batches += [(index, batch) for batch in prompt_batches(source.adapter, prompts)]
            yield from ((index, _proposed_mask(one, source)) for one in prompts if one.mask_rle is not None)
        predicted = self._decoder.predict(predictor, [batch for _, batch in batches])
        for (index, batch), best in zip(batches, predicted, strict=True):
            yield from ((index, piece) for piece in _pieces(state, best, batch, self._sources[index]))

    def _thread_state(self) -> _ThreadState:
        if not hasattr(self._local, "state"):
            self._local.state = _ThreadState.of(self._base, self._encoding, self._adapters, self._precision)
        return self._local.state


@dataclass(frozen=True)
class _ThreadState:
    """Everything that holds an image, of one thread.

    Args:
        encoder: computes the embedding that all adapters share.
        predictor: with the adapters.
        windows: turns logits into masks.
    """

    encoder: Predictor
    predictor: Predictor
    windows: Windows = field(default_factory=Windows)

    @classmethod
    def of(cls, base: Base, encoding: Base, adapters: dict[str, Segmenter], precision: str) -> _ThreadState:
        return cls(Predictor(encoding, precision=precision), Predictor(base, adapters))

    def set_image(self, image: np.ndarray, *, shared: bool) -> None:
        """Set an image by the shared embedding; not `shared` if an adapter encodes the image itself."""
        if not shared:
            self.predictor.set_image(image)
            return
        self.encoder.set_image(image)
        self.predictor.set_features(_channels_last(self.encoder.features), *image.shape[:2], image=lambda: image)


def _channels_last(features: Features) -> Features:
    """Convert the layout once, since heads of proposals and the decoder are faster with it."""
    return features.apply(lambda one: one.contiguous(memory_format=torch.channels_last))


def _pieces(state: _ThreadState, best: BestMask, batch: PromptBatch, source: AdapterSource) -> Iterator[Piece | None]:
    """The mask of each prompt; None for an empty one."""
    predictor, logits = state.predictor, best.logits.cpu()
    for index, prompt in enumerate(batch.prompts):
        mask, x, y = state.windows.mask(logits[index], predictor.frame)
        if source.refine and mask.any():
            mask, x, y = _refined(predictor, mask, x, y, best.keys()[index], source)
        if not mask.any():
            yield None
        else:
            yield _piece(mask, x, y, prompt, float(best.scores[index]), source)


def _proposed_mask(prompt: ObjectPrompt, source: AdapterSource) -> Piece:
    """An object whose proposal includes its mask."""
    x0, y0, x1, y1 = (int(v) for v in Annotation("", dict(prompt.mask_rle or {})).box)
    piece = _piece(prompt.mask[y0:y1, x0:x1], x0, y0, prompt, prompt.score or 0.0, source)
    return replace(piece, certainty=prompt.certainty)


def _piece(mask: np.ndarray, x: int, y: int, prompt: ObjectPrompt, iou: float, source: AdapterSource) -> Piece:
    label = source.label or prompt.label or source.adapter or "object"
    iou = min(max(iou, 0.0), 1.0)
    score = iou if prompt.score is None else min(max(prompt.score, 0.0), 1.0)
    return Piece(mask, x, y, label, score, source.adapter, rank=iou if prompt.score is None else score * iou)


def _refined(
    predictor: Predictor, mask: np.ndarray, x: int, y: int, keys: Tensor, source: AdapterSource
) -> tuple[np.ndarray, int, int]:
    """The mask with its outline refined by the adapter's PMM, at the size of the image.

    Raises:
        InputError: the adapter has no PMM.
    """
    module = None if source.adapter is None else predictor.segmenter(source.adapter).adapter("pmm")
    if not isinstance(module, pmm.PMM):
        raise InputError("Refining outlines needs an adapter with a PMM (method plm-pmm).")
    frame = predictor.frame
    full = np.zeros((frame.height, frame.width), bool)
    full[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return pmm.refine(full, keys, frame, module), 0, 0


__all__ = ["MultiAdapterPredictor"]
