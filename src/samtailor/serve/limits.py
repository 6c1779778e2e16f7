"""Limits of a service, and an executor with a bounded queue."""

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
    """Limits of a service; all are at least 1 (queues: 0).

    Args:
        bytes: size of an uploaded image.
        json_bytes: size of a request without an image.
        pixels: width times height of an image.
        encodes: images that are encoded at the same time.
        encode_queue: images that may wait for the encoder.
        decodes: threads that read images and decode masks.
        decode_queue: jobs that may wait for these threads.
        requests: requests in progress, uploads included.
        seconds: for headers and upload of a request, plus the time of a slow line (`rate`); for an idle connection.
        rate: bytes per second that an upload must reach on average after `seconds`.
        work_seconds: of a thread for one request.
        memory: bytes of embeddings, and of their image files, in memory.
        prompts: per request.
        points: per prompt.

    Raises:
        InputError: a limit is too low.
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
    rate: int = 2**16
    work_seconds: int = 30
    memory: int = 2 * 2**30
    prompts: int = 64
    points: int = 256

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < (0 if name.endswith("queue") else 1):
                raise InputError(f"The limit {name!r} must be at least 1 (a queue: 0), got {value}.")


class BoundedExecutor:
    """Threads with a bounded queue.

    Args:
        name: of the jobs, plural, for the error message.
        workers: number of threads.
        queue: number of jobs that may wait.
    """

    def __init__(self, name: str, workers: int, queue: int) -> None:
        self.name, self.workers, self._queue = name, workers, queue
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=f"samtailor-{name}")
        self._lock = threading.Lock()
        self._jobs = 0
        self._seconds = 1.0  # per job, moving average with an arbitrary start

    @property
    def waiting(self) -> int:
        """Number of jobs that no thread has started."""
        return max(0, self._jobs - self.workers)

    def submit(self, job: Callable[[], Any]) -> Future[Any]:
        """Queue a job.

        Raises:
            Busy: the queue is full; with an estimate of when to retry.
        """
        with self._lock:
            if self._jobs >= self.workers + self._queue:
                raise Busy(self.name, max(1, math.ceil(self._seconds * self._jobs / self.workers)))
            self._jobs += 1
        try:
            future = self._pool.submit(self._timed, job)
        except RuntimeError:  # closed
            self._leave()
            raise
        future.add_done_callback(lambda _: self._leave())
        return future

    def close(self) -> None:
        """Finish running jobs and drop waiting ones."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _timed(self, job: Callable[[], Any]) -> Any:
        start = time.monotonic()
        try:
            return job()
        finally:
            self._seconds += 0.2 * (time.monotonic() - start - self._seconds)

    def _leave(self) -> None:
        with self._lock:
            self._jobs -= 1


__all__ = ["BoundedExecutor", "Limits"]
