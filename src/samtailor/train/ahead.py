"""Batches made ahead of their use, in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from samtailor.structures import Batch


def ahead(batch: Callable[[int], Batch], steps: Sequence[int]) -> Iterator[Batch]:
    """`batch` of each step in order, the next one made in a thread while the last one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="feed") as thread:
        pending = [thread.submit(batch, step) for step in steps[:1]]
        for step in [*steps[1:], None]:
            ready = pending.pop() if pending else None
            if step is not None:
                pending.append(thread.submit(batch, step))
            if ready is not None:
                yield ready.result()


__all__ = ["ahead"]
