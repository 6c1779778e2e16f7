"""Several fits at once, each in a process of its own.

A small base on cached embeddings hardly gains from a second thread, two fits in two processes take the time of one.
Figures are those of the same fits one after another with as many threads each.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from samtailor.compare.entries import Entry, fit_contender

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.split import Split
    from samtailor.structures import Sample
    from samtailor.train.config import FitConfig
    from samtailor.train.progress import Progress

_CHUNK = 8  # images that a process encodes before it takes the next ones
Watch = Callable[[str, "Progress"], None]


@dataclass(frozen=True)
class Job:
    """One fit: whose it is, its images, and which of them it trains on."""

    row: Entry
    samples: Sequence[Sample]
    split: Split


def fit_side_by_side(
    jobs: Mapping[str, Job],
    store: EmbeddingCache,
    *,
    images: Sequence[Sample] = (),
    workers: int = 2,
    watch: Watch | None = None,
) -> dict[str, Path]:
    """Make every fit, at most `workers` at a time, each with its share of the threads; finished ones are not repeated.

    Called from a script, that script needs the usual `if __name__ == "__main__":`, for it is imported by the workers.

    Args:
        jobs: by name; their settings name the base, which each process loads for itself.
        store: embeddings.
        images: encoded by all processes together before the first fit starts, with the base of the first job; a fit
            encodes for itself what it misses.
        workers: processes.
        watch: called with (name, progress), from a thread; ("images", progress) while encoding.

    Raises:
        Interrupted: stopped by Ctrl-C, after all have saved.
        SamtailorError: what the first failing fit raised; the others stop and save.
    """
    context = get_context("spawn")  # forking a process that has used torch's threads may hang
    stop, messages = context.Event(), context.Queue()
    threads = max(1, _threads() // workers)
    reader = threading.Thread(target=_tell, args=(messages, watch), daemon=True)
    reader.start()
    room = {"root": store.root, "max_bytes": store.max_bytes}
    pool = ProcessPoolExecutor(workers, context, _begin, (stop, messages, threads, room))
    try:
        _encode_all(pool, next(iter(jobs.values())).row.config, images, watch)
        # long ones first, as far as steps tell (epochs do not), so that no process ends up alone with one
        by_length = sorted(jobs.items(), key=lambda one: -one[1].row.config.steps * one[1].row.config.batch_size)
        pending = {pool.submit(_fit, name, job): name for name, job in by_length}
        found = {pending[done]: done.result() for done in as_completed(pending)}
        return {name: found[name] for name in jobs}
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        messages.put(None)
        reader.join()


def _encode_all(pool: ProcessPoolExecutor, config: FitConfig, images: Sequence[Sample], watch: Watch | None) -> None:
    from samtailor.train.progress import Progress

    chunks = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
    for count, done in enumerate(as_completed([pool.submit(_encode, config, chunk) for chunk in chunks]), 1):
        done.result()
        if watch is not None:
            watch("images", Progress("encode", min(count * _CHUNK, len(images)), len(images)))


def _threads() -> int:
    import torch

    return min(torch.get_num_threads(), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 64)


def _tell(messages: Any, watch: Watch | None) -> None:
    while (message := messages.get()) is not None:
        if watch is not None:
            watch(*message)


# -- in a worker

_stop: Any = None
_messages: Any = None
_store: Any = None


def _begin(stop: Any, messages: Any, threads: int, room: Mapping[str, Any]) -> None:
    global _stop, _messages, _store
    import torch

    from samtailor.cache.embeddings import EmbeddingCache

    torch.set_num_threads(threads)
    _stop, _messages, _store = stop, messages, EmbeddingCache(**room)


@cache
def _base(name: str, device: str | None) -> Base:
    from samtailor.bases import load_on

    return load_on(name, device)


def _encode(config: FitConfig, images: Sequence[Sample]) -> None:
    _store.prepare(_base(config.base, config.device), images)


def _fit(name: str, job: Job) -> Path:
    base = _base(job.row.config.base, job.row.config.device)
    told = {"progress": lambda progress: _messages.put((name, progress)), "stop": _stop.is_set}
    return fit_contender(job.row, job.samples, job.split, base, _store, **told)


__all__ = ["Job", "fit_side_by_side"]
