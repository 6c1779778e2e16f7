"""The service without HTTP: one base, its adapters, embeddings by id, masks to questions.

Threads. Torch runs in two lanes of threads, the encoder's and the decoder's, never in the event loop. They need no
lock around the base: its weights are only read, `DecoderTap` captures what it sees for each thread by itself,
adapters inside the base live in twins that share its tensors, and a `Predictor`, which holds an image, belongs to
one request at a time (`LoadedAdapter.predictor`). No job waits for another one, so the lanes cannot deadlock.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samtailor.bases import Base
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.data.transform import Frame
from samtailor.predict.auto import GROWN
from samtailor.predict.instances import objects
from samtailor.predict.predictor import Predictor
from samtailor.predict.prompt import ObjectPrompt
from samtailor.serve import images
from samtailor.serve.adapters import Adapters, LoadedAdapter
from samtailor.serve.embeddings import Embedding, Embeddings, Watch
from samtailor.serve.limits import BoundedExecutor, Limits
from samtailor.serve.refusals import Refused, Unknown
from samtailor.structures import Features

_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)  # proposals look at the embedding


@dataclass(frozen=True)
class Answer:
    """One mask.

    Args:
        prompt: which of the prompts it answers, from 0; of automatic answers their rank.
        label: what the prompt or the proposal called it; None: nothing.
        score: the proposal's where there is one, else the predicted IoU.
        iou: predicted IoU.
        area: pixels.
        box: tight, x0 y0 x1 y1, edges in pixels; None for an empty mask.
        shape: the mask as `segment` was asked to give it.
    """

    prompt: int
    label: str | None
    score: float
    iou: float
    area: int
    box: tuple[int, int, int, int] | None
    shape: Any


class _Unwatched:
    def embedding(self, what: str) -> None:
        """Nobody counts."""


class Engine:
    """See the head of the file.

    Args:
        base: on the device that computes.
        limits: bounds.
        cache: folder of embeddings on disk; None keeps them in memory only. With one, embeddings are rounded to half
            precision, and an image that was encoded before is not encoded again after a restart.
        cache_bytes: room on disk.
        root: folder below which adapters may be added while it runs.
        watch: counts embeddings.
    """

    def __init__(
        self,
        base: Base,
        *,
        limits: Limits | None = None,
        cache: Path | None = None,
        cache_bytes: int = 20 * 2**30,
        root: Path | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.base, self.limits = base, limits or Limits()
        self._cache, self._cache_bytes = cache, cache_bytes
        self._stores = threading.local()  # the folder may be shared, a store object may not
        self.encoding = BoundedExecutor("images to encode", self.limits.encodes, self.limits.encode_queue)
        self.decoding = BoundedExecutor("questions", self.limits.decodes, self.limits.decode_queue)
        self._loading = BoundedExecutor("adapters to load", 1, 4)
        self.adapters = Adapters(base, self.limits.decodes, root)
        self.embeddings = Embeddings(self.encoding, self.limits.memory, watch or _Unwatched())

    def close(self) -> None:
        """Finish what runs."""
        for lane in (self.decoding, self.encoding, self._loading):
            lane.close()

    async def embed(self, data: bytes, adapter: str | None = None) -> Embedding:
        """The embedding of an image's file, made when it is not there, for an adapter that has its own encoder too.

        Raises:
            TooLarge, Unreadable: see `images.read`. Unknown: the adapter. Busy: no room in a queue.
        """
        return await self._embed(data, self.adapters.slot(adapter))

    def find(self, id: str) -> Embedding:
        """An embedding of an id, of whichever encoder.

        Raises:
            Unknown: never made here, or given up for newer ones.
        """
        if (found := self.embeddings.of_image(id)) is None:
            raise Unknown(f"No embedding has the id {id[:64]!r}; it may have made room for others. Send the image.")
        return found

    async def segment(
        self,
        image: bytes | str,
        asks: Sequence[ObjectPrompt],
        adapter: str | None = None,
        *,
        automatic: bool = False,
        threshold: float | None = None,
        every: bool = False,
        form: Callable[[np.ndarray], Any] = lambda mask: mask,
    ) -> tuple[Embedding, list[Answer]]:
        """Masks of one image.

        Args:
            image: the bytes of a file, or the id of an embedding.
            asks: what is asked, each by itself.
            adapter: who answers; None the untouched base.
            automatic: ask what the adapter's proposals find instead.
            threshold: lowest score of a proposal; None takes each class's own.
            every: all candidates of each prompt (SAM's three) by falling predicted IoU, instead of the best.
            form: turns a boolean mask (height, width) into what is wanted; runs in a thread.

        Raises:
            Refused: in one of its kinds. InputError: a prompt that makes no sense on this image.
        """
        slot = self.adapters.slot(adapter)
        embedding = await (self._embed(image, slot) if isinstance(image, bytes) else self._known(image, slot))
        job = _Question(slot, embedding, tuple(asks), automatic, threshold, every, form)
        return embedding, await _result(self.decoding.submit(job.answer))

    async def add_adapter(self, name: str, folder: str) -> LoadedAdapter:
        """Load an adapter from below the root."""
        return await _result(self._loading.submit(lambda: self.adapters.add_below(name, folder)))

    def remove_adapter(self, name: str) -> None:
        """Take an adapter out; questions that it is answering are answered."""
        slot = self.adapters.remove(name)
        if slot.encoder and all(other.encoder != slot.encoder for other in self.adapters.slots()):
            self.embeddings.drop_encoder(slot.encoder)

    async def _embed(self, data: bytes, slot: LoadedAdapter) -> Embedding:
        image, id = await _result(self.decoding.submit(lambda: self._read(data)))
        return await _result(
            self.embeddings.get_or_make((id, slot.encoder), lambda: self._encode(id, image, data, slot))
        )

    async def _known(self, id: str, slot: LoadedAdapter) -> Embedding:
        """By id; made from the file that is kept where only another encoder's is there."""
        own = self.embeddings.get((id, slot.encoder))
        return await self._embed(self.find(id).data, slot) if own is None else own

    def _read(self, data: bytes) -> tuple[np.ndarray, str]:
        image = images.read(data, self.limits)
        return image, images.identity(image)

    def _encode(self, id: str, image: np.ndarray, data: bytes, slot: LoadedAdapter) -> Embedding:
        height, width = image.shape[:2]
        return Embedding(id, height, width, self._features(image, slot), data)

    @torch.no_grad()
    def _features(self, pixels: np.ndarray, slot: LoadedAdapter) -> Features:
        device = next(self.base.model.parameters()).device
        if self._cache is not None and not slot.encoder:
            return self._store().features(self.base, pixels).to(device)
        image = Frame.of(slot.base, *pixels.shape[:2]).image(pixels, slot.base)
        return slot.base.encode_image(image[None].to(device))

    def _store(self) -> EmbeddingCache:
        if not hasattr(self._stores, "one"):
            self._stores.one = EmbeddingCache(self._cache, max_bytes=self._cache_bytes)
        return self._stores.one


@dataclass(frozen=True)
class _Question:
    slot: LoadedAdapter
    embedding: Embedding
    asks: tuple[ObjectPrompt, ...]
    automatic: bool
    threshold: float | None
    every: bool
    form: Callable[[np.ndarray], Any]

    @torch.no_grad()
    def answer(self) -> list[Answer]:
        with self.slot.predictor() as predictor:
            self.embedding.set_on(predictor)
            if self.automatic:
                return self._found(predictor)
            for ask in self.asks:
                _check(ask, self.embedding, self.slot)
            rows = (
                (i, ask, mask)
                for i, ask in enumerate(self.asks)
                for mask in _masks(self.slot, predictor, ask, self.every)
            )
            return [self._told(i, ask, mask, score) for i, ask, (mask, score) in rows]

    def _found(self, predictor: Predictor) -> list[Answer]:
        rows = found(self.slot, predictor, self.threshold)
        return [self._told(i, *row) for i, row in enumerate(rows)]

    def _told(self, prompt: int, ask: ObjectPrompt, mask: np.ndarray, score: float) -> Answer:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1) if len(rows) else None
        own = score if ask.score is None else ask.score
        return Answer(prompt, ask.label, own, score, int(np.count_nonzero(mask)), box, self.form(mask))


def found(
    slot: LoadedAdapter, predictor: Predictor, threshold: float | None
) -> list[tuple[ObjectPrompt, np.ndarray, float]]:
    """Automatic answers for the image that is set, as `predict --prompt auto` has them, by falling rank: what was
    asked, the mask, its predicted IoU. After proposals that look in tiles, the last of them is set.

    Raises:
        Refused: nothing can propose.
    """
    propose = slot.proposer(threshold, GROWN)
    image = predictor.image if slot.tiles > 1 else _NO_IMAGE
    seen = objects(predictor, image, propose, slot.name, tiles=slot.tiles, ready=True)
    return [(one.ask, one.mask, one.iou) for one in seen]


@torch.no_grad()
def _masks(slot: LoadedAdapter, predictor: Predictor, ask: ObjectPrompt, every: bool) -> list[tuple[np.ndarray, float]]:
    """Masks of the image that is set with their predicted IoU, best first; one unless every candidate is wanted."""
    frame = predictor.frame
    output = predictor.decode(ask.prompts((frame.height, frame.width)), slot.name)
    low, scores = output.candidate_logits()[0, 0], output.candidate_iou()[0, 0]
    wanted = scores.argsort(descending=True) if every else scores.argmax()[None]
    return [((frame.logits(low[i][None, None])[0, 0] > 0).cpu().numpy(), float(scores[i])) for i in wanted]


def _check(ask: ObjectPrompt, embedding: Embedding, slot: LoadedAdapter) -> None:
    if ask.promptless and not slot.promptless:
        raise Refused("A prompt needs points or a box; only adapters that were fitted without prompts go without.")
    ask.check((embedding.height, embedding.width))


async def _result(future: Future) -> Any:
    """Wait for a job of a thread. Who gives up waiting does not cancel it for the others who wait."""
    return await asyncio.shield(asyncio.wrap_future(future))


__all__ = ["Answer", "Engine", "found"]
