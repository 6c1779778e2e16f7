"""The service without HTTP: one base, its adapters, embeddings by id, masks for prompts.

Threads. Torch runs in two bounded executors, one for the encoder and one for the decoder, never in the event loop. The
base needs no lock: its weights are only read, `DecoderTap` captures tensors per thread, adapters inside the base have
their own twin of it, and a `Predictor`, which holds an image, belongs to one request at a time
(`LoadedAdapter.predictor`). No job waits for another job, so that the executors cannot deadlock.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samtailor.bases import Base
from samtailor.bases.companions import companion_maps
from samtailor.cache.embeddings import EmbeddingCache
from samtailor.cache.encoders import encode_image
from samtailor.cache.precision import resolve
from samtailor.data.transform import Frame
from samtailor.predict.prompt import ObjectPrompt
from samtailor.serve import images
from samtailor.serve.adapters import Adapters, LoadedAdapter
from samtailor.serve.embeddings import Embedding, EmbeddingCounter, Embeddings
from samtailor.serve.limits import BoundedExecutor, Limits
from samtailor.serve.predictions import MaskRequest, Prediction, predict_automatically
from samtailor.serve.refusals import Unknown
from samtailor.structures import Features


class _NoCounter:
    def embedding(self, event: str) -> None:
        """Count nothing."""


class Engine:
    """See the module docstring.

    Args:
        base: on the device that computes.
        limits: bounds.
        cache: folder of embeddings on disk; None keeps them in memory only. With one, embeddings are rounded to half
            precision, and known images are not encoded again after a restart.
        cache_bytes: maximum size on disk; None for that of `EmbeddingCache`.
        root: folder below which adapters may be added while the service runs.
        counter: counts embeddings.
        precision: of the image encoder, see `Predictor`.
    """

    def __init__(
        self,
        base: Base,
        *,
        limits: Limits | None = None,
        cache: Path | None = None,
        cache_bytes: int | None = None,
        root: Path | None = None,
        counter: EmbeddingCounter | None = None,
        precision: str = "fp32",
    ) -> None:
        self._precision = resolve(base, precision)
        self.base, self.limits = base, limits or Limits()
        self._cache, self._cache_bytes = cache, cache_bytes
        self._local = threading.local()  # the folder may be shared by threads, an `EmbeddingCache` may not
        self.encoding = BoundedExecutor("images to encode", self.limits.encodes, self.limits.encode_queue)
        self.decoding = BoundedExecutor("requests for masks", self.limits.decodes, self.limits.decode_queue)
        self._loading = BoundedExecutor("adapters to load", 1, 4)
        self.adapters = Adapters(base, self.limits.decodes, root)
        self.embeddings = Embeddings(self.encoding, self.limits.memory, counter or _NoCounter())

    def close(self) -> None:
        """Finish running jobs and drop waiting ones."""
        for executor in (self.decoding, self.encoding, self._loading):
            executor.close()

    async def current(self, adapter: str | None = None) -> None:
        """Load and remove adapters as other processes of the service did; here there are none.

        Args:
            adapter: name of the one that is needed.
        """

    async def embed(self, data: bytes, adapter: str | None = None) -> Embedding:
        """The embedding of an image file, computed if it is not in memory.

        Args:
            data: the file.
            adapter: name; an adapter with its own encoder has its own embedding.

        Raises:
            TooLarge, Unreadable: see `images.read`.
            Unknown: no adapter of this name.
            Busy: a queue is full.
        """
        await self.current(adapter)
        return await self._embed(data, self.adapters.get(adapter))

    async def known(self, id: str) -> Embedding:
        """As `find`, for an image that any process of the service may have encoded."""
        return self.find(id)

    def drop(self, id: str) -> None:
        """Drop an image, by every encoder.

        Raises:
            Unknown: as in `find`.
        """
        self.find(id)
        self.embeddings.drop(id)

    def find(self, id: str) -> Embedding:
        """The embedding of an id, by any encoder.

        Raises:
            Unknown: it was never computed here, or was dropped to make room.
        """
        if (embedding := self.embeddings.of_image(id)) is None:
            raise unknown_image(id)
        return embedding

    async def segment(
        self,
        image: bytes | str,
        prompts: Sequence[ObjectPrompt],
        adapter: str | None = None,
        *,
        automatic: bool = False,
        threshold: float | None = None,
        every: bool = False,
        form: Callable[[np.ndarray], Any] = lambda mask: mask,
    ) -> tuple[Embedding, list[Prediction]]:
        """Predict masks of one image.

        Args:
            image: content of a file, or id of an embedding.
            prompts: each is predicted separately.
            adapter: name; None is the unchanged base.
            automatic: use the prompt source of the adapter instead of `prompts`.
            threshold: lowest score of a proposal; None: the threshold of each class.
            every: all candidate masks of each prompt (SAM's three), by falling predicted IoU, instead of the best.
            form: converts a bool mask (height, width) to `Prediction.shape`; runs in a thread.

        Raises:
            Refused: one of its subclasses.
            InputError: an invalid prompt for this image.
        """
        await self.current(adapter)
        loaded = self.adapters.get(adapter)
        answering = [adapter if automatic else self.answering(adapter, prompt) for prompt in prompts]
        if any(one != adapter for one in answering):
            return await self._divided(image, prompts, answering, every, form)
        embedding = await (self._embed(image, loaded) if isinstance(image, bytes) else self._known(image, loaded))
        seconds = self.limits.work_seconds
        job = MaskRequest(loaded, embedding, tuple(prompts), automatic, threshold, every, form, seconds)
        return embedding, await result(self.decoding.submit(job.predict))

    def answering(self, adapter: str | None, prompt: ObjectPrompt) -> str | None:
        """Name of the adapter that answers a prompt if `adapter` is selected: of its class; None for the base model.

        Raises:
            Unknown: no adapter of this name.
        """
        member = self.adapters.get(adapter).of_class(prompt.label)
        return None if member is None or member.base_answers(prompt) else member.name

    async def _divided(
        self,
        image: bytes | str,
        prompts: Sequence[ObjectPrompt],
        answering: Sequence[str | None],
        every: bool,
        form: Callable[[np.ndarray], Any],
    ) -> tuple[Embedding, list[Prediction]]:
        """`segment` for prompts that several adapters answer, or the base model."""
        embeddings, predictions = [], []
        for name in sorted(set(answering), key=lambda one: one or ""):
            rows = [row for row, one in enumerate(answering) if one == name]
            embedding, part = await self.segment(image, [prompts[row] for row in rows], name, every=every, form=form)
            embeddings.append(embedding)
            predictions += [replace(one, prompt=rows[one.prompt]) for one in part]
        return embeddings[-1], sorted(predictions, key=lambda one: one.prompt)

    async def add_adapter(self, name: str, folder: str) -> LoadedAdapter:
        """Load an adapter from below the root, see `Adapters.add_below`."""
        return await result(self._loading.submit(lambda: self.adapters.add_below(name, folder)))

    def remove_adapter(self, name: str) -> None:
        """Remove an adapter and the embeddings of its own encoder; requests in progress keep it.

        Raises:
            Unknown: no adapter of this name.
        """
        removed = self.adapters.remove(name)
        if removed.encoder and all(other.encoder != removed.encoder for other in self.adapters.all()):
            self.embeddings.drop_encoder(removed.encoder)

    async def _embed(self, data: bytes, loaded: LoadedAdapter) -> Embedding:
        image, id = await result(self.decoding.submit(lambda: self._read(data)))
        return await result(
            self.embeddings.get_or_make((id, loaded.encoder), lambda: self._encode(id, image, data, loaded))
        )

    async def _known(self, id: str, loaded: LoadedAdapter) -> Embedding:
        """By id; computed from the kept file if only that of another encoder is in memory."""
        kept = self.embeddings.get((id, loaded.encoder))
        return await self._embed(self.find(id).data, loaded) if kept is None else kept

    def _read(self, data: bytes) -> tuple[np.ndarray, str]:
        image = images.read(data, self.limits)
        return image, images.identity(image)

    def _encode(self, id: str, image: np.ndarray, data: bytes, loaded: LoadedAdapter) -> Embedding:
        height, width = image.shape[:2]
        return Embedding(id, height, width, self._features(id, image, loaded), data)

    @torch.no_grad()
    def _features(self, id: str, pixels: np.ndarray, loaded: LoadedAdapter) -> Features:
        device = next(self.base.model.parameters()).device
        if self._cache is not None and not loaded.own_encoder:
            features = self._disk_cache(self._cache).features(self.base, pixels, companions=loaded.companions)
            return features.to(device)
        image = Frame.of(loaded.base, *pixels.shape[:2]).image(pixels, loaded.base)[None].to(device)
        kept = None if loaded.own_encoder else self._by_base(id)
        # an adapter inside the encoder keeps to full precision: only the base's encoder was measured
        precision = "fp32" if loaded.own_encoder else self._precision
        features = encode_image(loaded.base, image, precision) if kept is None else kept
        maps = {
            one.fingerprint: features.companions.get(one.fingerprint) or companion_maps(one, loaded.base, image)
            for one in loaded.companions
        }
        return replace(features, companions=maps)

    def _by_base(self, id: str) -> Features | None:
        """The embedding of an image by the encoder of the base, with or without a companion, if it is in memory."""
        encoders = ("", *(one.encoder for one in self.adapters.all() if not one.own_encoder))
        embeddings = (self.embeddings.peek((id, encoder)) for encoder in encoders)
        return next((kept.features for kept in embeddings if kept is not None), None)

    def _disk_cache(self, folder: Path) -> EmbeddingCache:
        if not hasattr(self._local, "cache"):
            self._local.cache = EmbeddingCache(folder, max_bytes=self._cache_bytes, encoder_precision=self._precision)
        return self._local.cache


def unknown_image(id: str) -> Unknown:
    """The error for an id that no embedding has."""
    return Unknown(f"No embedding has the id {id[:64]!r}; it may have been dropped. Send the image again.")


async def result(future: Future[Any]) -> Any:
    """Wait for a job of a thread; a caller that is cancelled does not cancel the job, which others may wait for."""
    return await asyncio.shield(asyncio.wrap_future(future))


__all__ = ["Engine", "Prediction", "predict_automatically", "result", "unknown_image"]
