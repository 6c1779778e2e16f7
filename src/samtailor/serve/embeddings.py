"""Embeddings by id: bounded in memory (least recently used first out), and computed once for concurrent requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from samtailor.cache.bounded import BoundedCache
from samtailor.data.image import decode_image
from samtailor.predict.predictor import Predictor
from samtailor.serve.limits import BoundedExecutor
from samtailor.structures import Features

Key = tuple[str, str]
"""(id of the image, encoder): see `LoadedAdapter.encoder`; "" is the base's."""


@dataclass(frozen=True)
class Embedding:
    """The embedding of an image, and its file.

    Args:
        id: see `images.identity`.
        height, width: pixels, after the EXIF rotation.
        features: one row, on the device that computes.
        data: content of the file, for adapters that need the image (inside the encoder, tiled inference).
    """

    id: str
    height: int
    width: int
    features: Features
    data: bytes

    def set_on(self, predictor: Predictor) -> None:
        """Set the image on a predictor; the file is decoded only if more than the embedding is needed."""
        read = partial(decode_image, self.data, self.id)
        predictor.set_features(self.features, self.height, self.width, image=read)

    @property
    def bytes(self) -> int:
        """Size in memory, the file included."""
        return len(self.data) + sum(level.numel() * level.element_size() for level in self.features.tensors())


class EmbeddingCounter(Protocol):
    """Counts requests for embeddings."""

    def embedding(self, event: str) -> None:
        """Count one: "made", "hit" (in memory), or "joined" (another request was computing it)."""


class Embeddings:
    """See the module docstring.

    Args:
        executor: computes embeddings.
        max_bytes: maximum size in memory; the newest embedding is kept whatever its size.
        counter: counts requests.
    """

    def __init__(self, executor: BoundedExecutor, max_bytes: int, counter: EmbeddingCounter) -> None:
        self._executor, self._counter = executor, counter
        # reentrant: if a job is done before its callback is added, the callback runs at once, in the same thread
        self._lock = threading.RLock()
        self._kept: BoundedCache[Key, Embedding] = BoundedCache(max_size=max_bytes, size=lambda kept: kept.bytes)
        self._making: dict[Key, Future[Embedding]] = {}

    @property
    def bytes(self) -> int:
        """Total size of all embeddings."""
        return self._kept.size

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Embedding | None:
        """The embedding of a key, or None; counts as a use."""
        with self._lock:
            return self._kept.get(key)

    def peek(self, key: Key) -> Embedding | None:
        """The embedding of a key, or None; does not count as a use."""
        with self._lock:
            return self._kept.peek(key)

    def of_image(self, id: str) -> Embedding | None:
        """The embedding of an image by any encoder, the base's first, or None."""
        with self._lock:
            keys = (key for key in self._kept if key[0] == id)
            return self.get((id, "")) or next((self._kept.peek(key) for key in keys), None)

    def get_or_make(self, key: Key, make: Callable[[], Embedding]) -> Future[Embedding]:
        """The embedding of a key; concurrent requests for one key wait for the same computation.

        If the computation fails, it fails for all that wait for it, and the next request starts it again.

        Raises:
            Busy: it is not in memory, and the queue is full.
        """
        with self._lock:
            if (kept := self.get(key)) is not None:
                self._counter.embedding("hit")
                done: Future[Embedding] = Future()
                done.set_result(kept)
                return done
            if key in self._making:
                self._counter.embedding("joined")
                return self._making[key]
            future = self._making[key] = self._executor.submit(make)
            self._counter.embedding("made")
            future.add_done_callback(lambda made: self._made(key, made))
            return future

    def drop(self, id: str) -> bool:
        """Drop an image, by every encoder; False if it was not there."""
        return self._drop(lambda key: key[0] == id)

    def drop_encoder(self, encoder: str) -> bool:
        """Drop the embeddings of an encoder; False if there were none."""
        return self._drop(lambda key: key[1] == encoder)

    def _drop(self, matches: Callable[[Key], bool]) -> bool:
        with self._lock:
            keys = [key for key in self._kept if matches(key)]
            for key in keys:
                self._kept.discard(key)
            return bool(keys)

    def _made(self, key: Key, future: Future[Embedding]) -> None:
        with self._lock:
            del self._making[key]
            if future.cancelled() or future.exception() is not None:
                return
            self._kept.put(key, future.result())


__all__ = ["Embedding", "EmbeddingCounter", "Embeddings", "Key"]
