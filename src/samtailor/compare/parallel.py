"""Parallel fits, each in a worker: a process of this machine, or of the engine that `fitting.engines` has chosen.

The results equal those of sequential fits with the same number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samtailor.compare.entries import Entry
from samtailor.compare.entry_fit import fit_entry
from samtailor.fitting.pool import Context, Pool, Watch, base_of_process, cores
from samtailor.train.interrupt import Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.split import Split
    from samtailor.structures import Sample
    from samtailor.train.config import FitConfig

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

    Args:
        jobs: fits by name; each worker loads the base named in their settings.
        store: cached embeddings.
        images: images that all workers encode together before the first fit, with the base of the first job. A fit
            encodes any others that it needs.
        workers: number of workers.
        watch: called from a thread with (name, progress); while encoding the name is "images".

    Returns:
        folder of each fit by name.

    Raises:
        Interrupted: stopped by Ctrl-C, after all fits have saved.
        SamtailorError: error of the first failing fit; the others stop and save.
    """
    try:
        return _all_fits(jobs, store, images, workers, watch)
    except Interrupted:
        raise
    except KeyboardInterrupt as error:
        raise Interrupted("Stopped; all fits have saved. Run the same command again to continue.") from error


def _all_fits(
    jobs: Mapping[str, Job], store: EmbeddingCache, images: Sequence[Sample], workers: int, watch: Watch | None
) -> dict[str, Path]:
    threads = max(1, min(_threads(), cores()) // workers)
    with Pool(None, store, workers=workers, threads=threads, watch=watch, quiet=False) as pool:
        _encode_all(pool, next(iter(jobs.values())).row.config, images, watch)
        # long fits first (as far as steps show it), so that none is left over for a single worker at the end
        by_length = sorted(jobs.items(), key=lambda job: -_masks(job[1].row.config))
        pending = {pool.submit(_fit, name, job): name for name, job in by_length}
        folders = {pending[done]: done.result().value for done in as_completed(pending)}
        return {name: folders[name] for name in jobs}


def _encode_all(pool: Pool, config: FitConfig, images: Sequence[Sample], watch: Watch | None) -> None:
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

    return torch.get_num_threads()


# -- in a worker


def _encode(context: Context, config: FitConfig, images: Sequence[Sample]) -> None:
    context.store.prepare(base_of_process(config.base, config.device), images)


def _fit(context: Context, name: str, job: Job) -> Path:
    return fit_entry(
        job.row,
        job.samples,
        job.split,
        base_of_process(job.row.config.base, job.row.config.device),
        context.store,
        progress=lambda progress: context.report(name, progress),
        stop=context.stopped,
    )


__all__ = ["Job", "Watch", "parallel_fits"]
