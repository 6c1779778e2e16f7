"""Jobs that share the cached embeddings: in several workers, or one after the other in this process.

A small base on cached embeddings hardly gains from a second thread, while two fits in two processes take the time of
one.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from samtailor.fitting.engines import Engine, Setup, Stopped, Watch, chosen
from samtailor.fitting.engines.processes import Processes

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.train.progress import Progress

_CACHE_SETTINGS = ("root", "max_bytes", "precision", "encoder_precision")


@dataclass(frozen=True)
class Context:
    """What a job works with.

    Args:
        load: returns the frozen base model of the pool.
        store: cached embeddings.
        report: called with the name of the job and its progress.
        stopped: whether the job should stop.
    """

    load: Callable[[], Base]
    store: EmbeddingCache
    report: Watch
    stopped: Stopped

    @property
    def base(self) -> Base:
        """The frozen base model of the pool."""
        return self.load()


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

    Args:
        base: frozen base model; workers load it by its name. None: jobs load their own, see `base_of_process`.
        store: cached embeddings.
        workers: number of workers. A single one is this process, which runs each job when it is submitted, unless
            `engines.running_on` has chosen an engine.
        threads: torch threads of a worker; None: its share of the cores.
        device: of the base in the workers.
        watch: called with the name of a job and its progress, from a thread if there are workers.
        stop: polled by the jobs of this process; `Pool.stop` stops those of workers.
        quiet: hide warnings in the workers, where they are about parts of one fit.
    """

    def __init__(
        self,
        base: Base | None,
        store: EmbeddingCache,
        *,
        workers: int = 1,
        threads: int | None = None,
        device: str | None = None,
        watch: Watch | None = None,
        stop: Stopped | None = None,
        quiet: bool = True,
    ) -> None:
        self.workers, start = workers, chosen()
        self._engine: Engine | None = None
        self._here = Context(_no_base if base is None else lambda: base, store, watch or _ignore, stop or _never)
        if workers > 1 or start is not None:
            arguments = (_shared_cache(store, workers), None if base is None else base.name, device, quiet)
            threads = threads or max(1, cores() // workers)
            self._engine = (start or Processes)(Setup(workers, threads, _begin, arguments, watch or _ignore))

    def submit(self, job: Callable[..., Any], *arguments: Any) -> Future[Done]:
        """Start a job; the future has its value, or its exception."""
        if self._engine is not None:
            return self._engine.submit(_in_worker, job, arguments)
        future: Future[Done] = Future()
        try:
            future.set_result(_timed(job, self._here, arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def stop(self) -> None:
        """Let all jobs stop."""
        if self._engine is not None:
            self._engine.stop()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine is None:
            return
        if error is not None:
            self._engine.stop()
        self._engine.close()


def _timed(job: Callable[..., Any], context: Context, arguments: tuple[Any, ...]) -> Done:
    start, wall = time.process_time(), time.monotonic()
    value = job(context, *arguments)
    return Done(value, time.process_time() - start, time.monotonic() - wall)


def _ignore(name: str, progress: Progress) -> None:
    pass


def _never() -> bool:
    return False


def _no_base() -> Base:
    raise RuntimeError("This pool has no base model.")


def _shared_cache(store: EmbeddingCache, workers: int) -> dict[str, Any]:
    """Arguments of the `EmbeddingCache` of each of several workers that share a cache."""
    settings = {name: getattr(store, name) for name in _CACHE_SETTINGS}
    return {**settings, "root": Path(store.root).absolute(), "sharers": workers}


# -- in a worker

_context: Context | None = None


def _begin(
    report: Watch, stopped: Stopped, cache_settings: dict[str, Any], base: str | None, device: str | None, quiet: bool
) -> None:
    global _context
    import torch

    from samtailor.cache.embeddings import EmbeddingCache

    if quiet:
        logging.getLogger("samtailor").setLevel(logging.ERROR)
    load: Callable[[], Base] = _no_base
    if base is not None:
        torch.set_flush_denormal(True)  # before torch starts its threads, see `train.denormals`
        load = partial(base_of_process, base, device)
        load()  # its time is not that of the first job
    _context = Context(load, EmbeddingCache(**cache_settings), report, stopped)


@cache
def base_of_process(name: str, device: str | None) -> Base:
    """The base model of a worker, which is loaded once."""
    from samtailor.bases import load_on

    return load_on(name, device)


def _in_worker(job: Callable[..., Any], arguments: tuple[Any, ...]) -> Done:
    if _context is None:
        raise RuntimeError("A worker was not initialized.")
    return _timed(job, _context, arguments)


__all__ = ["Context", "Done", "Pool", "Watch", "base_of_process", "cores"]
