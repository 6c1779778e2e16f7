"""Prefetching of batches in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from samtailor.structures import Batch


def ahead(batch: Callable[[int], Batch], steps: Sequence[int]) -> Iterator[Batch]:
    """`batch` of each step in order; the next one is prepared in a thread while the current one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="feed") as thread:
        pending = [thread.submit(batch, step) for step in steps[:1]]
        for step in steps[1:]:
            current = pending.pop()
            pending.append(thread.submit(batch, step))
            yield current.result()
        for last in pending:
            yield last.result()


__all__ = ["ahead"]
