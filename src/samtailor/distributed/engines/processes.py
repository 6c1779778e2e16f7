"""Worker processes on this machine, without Ray."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from typing import Any

from samtailor.distributed.items import Item
from samtailor.distributed.job import Job
from samtailor.distributed.results import Result
from samtailor.distributed.worker import Worker
from samtailor.errors import InputError, SamtailorError

_STARTS = 3
"""Workers that may die one after the other before any of them has started."""


@dataclass
class _Child:
    process: Any
    pipe: Connection
    ready: bool = False
    busy: bool = False


class Processes:
    """Workers in processes of their own.

    A script that uses this needs the usual `if __name__ == "__main__":`, because the workers import it.

    Args:
        job: what the workers do.
        workers: number of processes.
    """

    def __init__(self, job: Job, workers: int) -> None:
        self._job, self._number = job, workers
        self._context = get_context("spawn")  # a fork of a process that has used threads of torch may hang
        self._children: list[_Child] = []
        self._died = 0

    def run(self, blocks: Sequence[Sequence[Item]], group: int) -> Iterator[Result]:
        """Process images; see `passes.Engine`."""
        groups = (block[first : first + group] for block in blocks for first in range(0, len(block), group))
        following = next(groups, None)
        needed = min(self._number, sum(-(-len(block) // group) for block in blocks))
        while following is not None or any(child.busy for child in self._children):
            while following is not None and len(self._children) < needed:
                self._children.append(self._start())
            for child in self._children:
                if child.ready and not child.busy and following is not None and self._send(child, following):
                    following = next(groups, None)
            for child in self._with_news():
                yield from self._receive(child)

    def pids(self) -> list[int]:
        """Process numbers of the workers."""
        return [child.process.pid for child in self._children]

    def close(self) -> None:
        """Stop the workers."""
        for child in self._children:
            child.process.kill()
        for child in self._children:
            child.process.join()
            child.pipe.close()
        self._children = []

    def _start(self) -> _Child:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._job), daemon=True, name="samtailor-worker")
        process.start()
        theirs.close()
        return _Child(process, ours)

    def _send(self, child: _Child, items: Sequence[Item]) -> bool:
        try:
            child.pipe.send(list(items))
        except (BrokenPipeError, ConnectionResetError):
            return False  # it died; `_receive` removes it
        child.busy = True
        return True

    def _with_news(self) -> list[_Child]:
        sources: dict[Any, _Child] = {child.pipe: child for child in self._children}
        return [sources[source] for source in connection.wait(list(sources), timeout=1.0)]

    def _receive(self, child: _Child) -> Iterator[Result]:
        try:
            kind, content = child.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._remove(child)
            return
        if kind == "ready":
            child.ready, self._died = True, 0
        elif kind == "error":
            raise InputError(content)
        else:
            child.busy = False
            yield from content

    def _remove(self, child: _Child) -> None:
        self._children.remove(child)
        child.pipe.close()
        child.process.join()
        self._died += not child.ready
        if self._died >= _STARTS:
            raise InputError(
                f"Worker processes end while they start (exit code {child.process.exitcode}). The memory may be too "
                "small for this number of workers: use fewer --workers."
            )


def _work(pipe: Connection, job: Job) -> None:
    """A worker process. It ends when the driver closes the connection or dies."""
    try:
        worker = Worker(job)
    except SamtailorError as error:
        pipe.send(("error", str(error)))
        return
    pipe.send(("ready", time.time()))
    while True:
        try:
            items = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(("results", worker.predict(worker.read(items))))


__all__ = ["Processes"]
