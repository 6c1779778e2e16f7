"""How much a service takes on at once: `Limits` says it, a `BoundedExecutor` keeps to it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from samtailor.errors import InputError
from samtailor.serve.refusals import Busy


@dataclass(frozen=True)
class Limits:
    """Bounds of a service; all are at least 1.

    Args:
        bytes: of an uploaded image.
        json_bytes: of a question without an image.
        pixels: of an image, width times height.
        encodes: images in the encoder at once.
        encode_queue: images that may wait for it.
        decodes: threads that read images and decode masks.
        decode_queue: jobs that may wait for them.
        requests: requests in progress at once, uploads included.
        seconds: of waiting for the next piece of an upload.
        memory: bytes of embeddings (and of the files they were made from) kept in memory.
        prompts: of one question.
        points: of one prompt.
    """

    bytes: int = 32 * 2**20
    json_bytes: int = 2 * 2**20
    pixels: int = 50_000_000
    encodes: int = 1
    encode_queue: int = 16
    decodes: int = 2
    decode_queue: int = 64
    requests: int = 128
    seconds: int = 30
    memory: int = 2 * 2**30
    prompts: int = 64
    points: int = 256

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < (0 if name.endswith("queue") else 1):
                raise InputError(f"The limit {name!r} must be at least 1 (a queue: 0), got {value}.")


class BoundedExecutor:
    """Threads and a bounded queue before them.

    Args:
        name: of the jobs, in the plural; stands in the refusal.
        workers: threads.
        queue: jobs that may wait.
    """

    def __init__(self, name: str, workers: int, queue: int) -> None:
        self.name, self.workers, self._queue = name, workers, queue
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=f"samtailor-{name}")
        self._lock = threading.Lock()
        self._inside = 0
        self._seconds = 1.0  # a job, as a moving average; the first guess is of no consequence

    @property
    def waiting(self) -> int:
        """Jobs that no thread has taken yet."""
        return max(0, self._inside - self.workers)

    def submit(self, job: Callable[[], Any]) -> Future:
        """Queue a job.

        Raises:
            Busy: no room; says when there may be some.
        """
        with self._lock:
            if self._inside >= self.workers + self._queue:
                raise Busy(self.name, max(1, math.ceil(self._seconds * self._inside / self.workers)))
            self._inside += 1
        try:
            future = self._pool.submit(self._timed, job)
        except RuntimeError:  # closed
            self._leave()
            raise
        future.add_done_callback(lambda _: self._leave())
        return future

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _timed(self, job: Callable[[], Any]) -> Any:
        start = time.monotonic()
        try:
            return job()
        finally:
            self._seconds += 0.2 * (time.monotonic() - start - self._seconds)

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1


__all__ = ["BoundedExecutor", "Limits"]
