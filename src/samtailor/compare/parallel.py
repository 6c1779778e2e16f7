"""Parallel fits, each in a separate process.

A small base on cached embeddings hardly gains from a second thread, while two fits in two processes take the time of
one. The results equal those of sequential fits with the same number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from samtailor.compare.entries import Entry
from samtailor.compare.entry_fit import fit_entry
from samtailor.fitting.pool import Watch, base_of_process, cores, forward, shared_cache

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.split import Split
    from samtailor.structures import Sample
    from samtailor.train.config import FitConfig
    from samtailor.train.progress import Progress

_CHUNK = 8  # images that a process encodes before it takes the next ones


@dataclass(frozen=True)
class Job:
    """One fit: row, images, and the split of the images."""

    row: Entry
    samples: Sequence[Sample]
    split: Split


def parallel_fits(
    jobs: Mapping[str, Job],
    store: EmbeddingCache,
    *,
    images: Sequence[Sample] = (),
    workers: int = 2,
    watch: Watch | None = None,
) -> dict[str, Path]:
    """Run all fits, at most `workers` at a time, each with its share of the threads. Finished fits are not repeated.

    A script that calls this needs the usual `if __name__ == "__main__":`, because the workers import it.

    Args:
        jobs: fits by name; each process loads the base named in their settings.
        store: cached embeddings.
        images: images that all processes encode together before the first fit, with the base of the first job. A fit
            encodes any others that it needs.
        workers: number of processes.
        watch: called from a thread with (name, progress); while encoding the name is "images".

    Returns:
        folder of each fit by name.

    Raises:
        Interrupted: stopped by Ctrl-C, after all fits have saved.
        SamtailorError: error of the first failing fit; the others stop and save.
    """
    context = get_context("spawn")  # a fork of a process that has used threads of torch may hang
    stop, messages = context.Event(), context.Queue()
    threads = max(1, _threads() // workers)
    reader = threading.Thread(target=forward, args=(messages, watch or _ignore), daemon=True)
    reader.start()
    pool = ProcessPoolExecutor(workers, context, _begin, (stop, messages, threads, shared_cache(store, workers)))
    try:
        _encode_all(pool, next(iter(jobs.values())).row.config, images, watch)
        # long fits first (as far as steps show it), so that none is left over for a single process at the end
        by_length = sorted(jobs.items(), key=lambda job: -_masks(job[1].row.config))
        pending = {pool.submit(_fit, name, job): name for name, job in by_length}
        folders = {pending[done]: done.result() for done in as_completed(pending)}
        return {name: folders[name] for name in jobs}
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


def _masks(config: FitConfig) -> int:
    """About how many masks a fit trains on."""
    from samtailor.fitting.memory import SIZES

    size = config.batch_size
    return config.steps * (SIZES[-1] if size == "auto" else size)


def _threads() -> int:
    import torch

    return min(torch.get_num_threads(), cores())


def _ignore(name: str, progress: Progress) -> None:
    pass


# -- in a worker

_stop: Any = None
_messages: Any = None
_store: Any = None


def _begin(stop: Any, messages: Any, threads: int, cache_settings: Mapping[str, Any]) -> None:
    global _stop, _messages, _store
    import torch

    from samtailor.cache.embeddings import EmbeddingCache

    torch.set_num_threads(threads)
    _stop, _messages, _store = stop, messages, EmbeddingCache(**cache_settings)


def _encode(config: FitConfig, images: Sequence[Sample]) -> None:
    _store.prepare(base_of_process(config.base, config.device), images)


def _fit(name: str, job: Job) -> Path:
    base = base_of_process(job.row.config.base, job.row.config.device)
    return fit_entry(
        job.row,
        job.samples,
        job.split,
        base,
        _store,
        progress=lambda progress: _messages.put((name, progress)),
        stop=_stop.is_set,
    )


__all__ = ["Job", "Watch", "parallel_fits"]
