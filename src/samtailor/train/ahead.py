"""Prefetching of batches in threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from samtailor.structures import Batch

_MOST = 4  # threads by default


def ahead(batch: Callable[[int], Batch], steps: Sequence[int], workers: int = 1) -> Iterator[Batch]:
    """`batch` of each step in order; the next ones are prepared in threads while the current one is used.

    Args:
        batch: may be called by several threads at the same time if there are several workers.
        steps: numbers of the steps.
        workers: threads, and batches that are prepared ahead.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="feed") as threads:
        pending: deque[Future[Batch]] = deque(threads.submit(batch, step) for step in steps[:workers])
        try:
            for step in steps[workers:]:
                current = pending.popleft()
                pending.append(threads.submit(batch, step))
                yield current.result()
            while pending:
                yield pending.popleft().result()
        finally:  # after an error, or if the fit stops: waiting batches are not needed
            for one in pending:
                one.cancel()


def workers_for(device: str, given: int | None = None) -> int:
    """Threads that prepare batches: the given number, else 1 beside a CPU that trains, half of the cores beside a GPU.

    Args:
        device: type of the device that trains, for example "cuda".
        given: the setting `feed_workers`.
    """
    return given or (1 if device == "cpu" else max(1, min((os.cpu_count() or 1) // 2, _MOST)))


__all__ = ["ahead", "workers_for"]
