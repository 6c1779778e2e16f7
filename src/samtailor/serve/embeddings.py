"""Embeddings by id: bounded in memory, the least recently used go first, made once however many ask."""

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
"""(id of the image, encoder): the encoder is "" for the base's, else the digest of the adapter that changes it."""


@dataclass(frozen=True)
class Embedding:
    """What is kept of an image.

    Args:
        id: see `images.identity`.
        height, width: pixels, after the EXIF rotation.
        features: one row, on the device that computes.
        data: the bytes of the file, for adapters that need the image (inside the encoder, closer looks).
    """

    id: str
    height: int
    width: int
    features: Features
    data: bytes

    def set_on(self, predictor: Predictor) -> None:
        """Set the image; it is read again only for whoever needs more than the embedding."""
        read = partial(decode_image, self.data, self.id)
        predictor.set_features(self.features, self.height, self.width, image=read)

    @property
    def bytes(self) -> int:
        """What it takes."""
        levels = (self.features.main, *self.features.skips)
        return len(self.data) + sum(level.numel() * level.element_size() for level in levels)


class Watch(Protocol):
    """Who counts: "made", "hit" or "joined" (another request was already at it)."""

    def embedding(self, what: str) -> None:
        """One more of it."""


class Embeddings:
    """See the head of the file.

    Args:
        lane: where embeddings are made.
        room: bytes; the last one is kept whatever its size.
        watch: told what happens.
    """

    def __init__(self, lane: BoundedExecutor, room: int, watch: Watch) -> None:
        self._lane, self._watch = lane, watch
        self._lock = threading.RLock()  # a job may be done before its callback is attached, which then runs at once
        self._kept: BoundedCache[Key, Embedding] = BoundedCache(max_size=room, size=lambda kept: kept.bytes)
        self._making: dict[Key, Future[Embedding]] = {}

    @property
    def bytes(self) -> int:
        """Total size of all embeddings."""
        return self._kept.size

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Embedding | None:
        """What is kept under a key."""
        with self._lock:
            return self._kept.get(key)

    def of_image(self, id: str) -> Embedding | None:
        """What is kept of an image, under whichever encoder; the base's first."""
        with self._lock:
            own = (key for key in self._kept if key[0] == id)
            return self.get((id, "")) or next((self._kept.peek(key) for key in own), None)

    def get_or_make(self, key: Key, make: Callable[[], Embedding]) -> Future[Embedding]:
        """The embedding of a key. Those who ask while it is being made wait for the same one.

        A failure is everybody's who waited for it, and is not kept: the next one who asks tries again.

        Raises:
            Busy: it would have to be made, and the queue is full.
        """
        with self._lock:
            if (kept := self.get(key)) is not None:
                self._watch.embedding("hit")
                done: Future[Embedding] = Future()
                done.set_result(kept)
                return done
            if key in self._making:
                self._watch.embedding("joined")
                return self._making[key]
            future = self._making[key] = self._lane.submit(make)
            self._watch.embedding("made")
            future.add_done_callback(lambda made: self._made(key, made))
            return future

    def drop(self, id: str) -> bool:
        """Forget an image under every encoder; whether it was there."""
        return self._drop(lambda key: key[0] == id)

    def drop_encoder(self, encoder: str) -> bool:
        """Forget what an adapter's own encoder made."""
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


__all__ = ["Embedding", "Embeddings", "Key", "Watch"]
