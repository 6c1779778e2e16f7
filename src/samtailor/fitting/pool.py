"""Jobs in several processes that share the cached embeddings, or one after the other in this process.

A small base on cached embeddings hardly gains from a second thread, while two fits in two processes take the time of
one.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.train.progress import Progress

Watch = Callable[[str, "Progress"], None]
_CACHE_SETTINGS = ("root", "max_bytes", "precision", "encoder_precision")


@dataclass(frozen=True)
class Context:
    """What a job works with.

    Args:
        base: frozen base model.
        store: cached embeddings.
        report: called with the name of the job and its progress.
        stopped: whether the job should stop.
    """

    base: Base
    store: EmbeddingCache
    report: Watch
    stopped: Callable[[], bool]


class Done(NamedTuple):
    """What a job returned, and the CPU and wall seconds that it took."""

    value: Any
    cpu_seconds: float
    seconds: float


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """Runs functions of the form `job(context, *arguments)`; use it in a `with` statement.

    Scripts need no `if __name__ == "__main__":`, since the processes do not import the main module of this one.

    Args:
        base: frozen base model; the processes load it by its name.
        store: cached embeddings.
        workers: number of processes; 1 runs each job in this process when it is submitted.
        device: of the base in the processes.
        watch: called with the name of a job and its progress, from a thread if there are processes.
        stop: polled by the jobs of this process; `Pool.stop` stops those of other processes.
    """

    def __init__(
        self,
        base: Base,
        store: EmbeddingCache,
        *,
        workers: int = 1,
        device: str | None = None,
        watch: Watch | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self.workers = workers
        self._executor: ProcessPoolExecutor | None = None
        self._here = Context(base, store, watch or _ignore, stop or _never)
        self._stopping = False
        if workers > 1:
            context = get_context("spawn")  # a fork of a process that has used threads of torch may hang
            self._stop, self._messages = context.Event(), context.Queue()
            self._reader = threading.Thread(target=forward, args=(self._messages, watch or _ignore), daemon=True)
            self._reader.start()
            settings = shared_cache(store, workers)
            threads = max(1, cores() // workers)
            arguments = (self._stop, self._messages, threads, settings, base.name, device)
            self._executor = ProcessPoolExecutor(workers, context, _begin, arguments)

    def submit(self, job: Callable[..., Any], *arguments: Any) -> Future[Done]:
        """Start a job; the future has its value, or its exception."""
        if self._executor is not None:
            with _without_main():
                return self._executor.submit(_in_worker, job, arguments)
        future: Future[Done] = Future()
        try:
            future.set_result(_timed(job, self._here, arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def stop(self) -> None:
        """Let all jobs stop."""
        if self._executor is not None:
            self._stop.set()
            self._executor.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is None:
            return
        if error is not None:
            self._stop.set()
        self._executor.shutdown(cancel_futures=True)
        self._messages.put(None)
        self._reader.join()


def _timed(job: Callable[..., Any], context: Context, arguments: tuple[Any, ...]) -> Done:
    start, wall = time.process_time(), time.monotonic()
    value = job(context, *arguments)
    return Done(value, time.process_time() - start, time.monotonic() - wall)


def _ignore(name: str, progress: Progress) -> None:
    pass


def _never() -> bool:
    return False


def shared_cache(store: EmbeddingCache, workers: int) -> dict[str, Any]:
    """Arguments of the `EmbeddingCache` of each of several processes that share a cache."""
    return {name: getattr(store, name) for name in _CACHE_SETTINGS} | {"sharers": workers}


def forward(messages: Any, watch: Watch) -> None:
    """Call `watch` with each message of a queue, until there is a None."""
    while (message := messages.get()) is not None:
        watch(*message)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module, which a spawned process would import and run again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


# -- in a worker

_context: Context | None = None


def _begin(
    stop: Any, messages: Any, threads: int, cache_settings: dict[str, Any], base: str, device: str | None
) -> None:
    global _context
    import signal

    import torch

    from samtailor.cache.embeddings import EmbeddingCache

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one stops the others
    logging.getLogger("samtailor").setLevel(logging.ERROR)  # warnings are about parts of one fit
    torch.set_flush_denormal(True)  # before torch starts its threads, see `train.denormals`
    torch.set_num_threads(threads)
    store = EmbeddingCache(**cache_settings)
    _context = Context(
        base_of_process(base, device), store, lambda name, progress: messages.put((name, progress)), stop.is_set
    )


@cache
def base_of_process(name: str, device: str | None) -> Base:
    """The base model of a worker, which is loaded once."""
    from samtailor.bases import load_on

    return load_on(name, device)


def _in_worker(job: Callable[..., Any], arguments: tuple[Any, ...]) -> Done:
    if _context is None:
        raise RuntimeError("A worker was not initialized.")
    return _timed(job, _context, arguments)


__all__ = ["Context", "Done", "Pool", "Watch", "base_of_process", "cores", "forward", "shared_cache"]
