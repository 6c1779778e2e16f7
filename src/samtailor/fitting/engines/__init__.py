"""Where fits run that do not run in this process, one engine a file.

`processes` are processes of this machine. Other packages bring further engines; `running_on` chooses one for the fits
of a block of code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from samtailor.train.progress import Progress

Watch = Callable[[str, "Progress"], None]
Stopped = Callable[[], bool]
Begin = Callable[..., None]


@dataclass(frozen=True)
class Setup:
    """How workers start.

    Args:
        workers: largest number of jobs at a time.
        threads: torch threads of a worker.
        begin: called once in each worker with (report, stopped, *arguments): `report` sends the name of a job and its
            progress to `watch`, `stopped` says whether jobs should stop.
        arguments: of `begin`; they can be pickled.
        watch: called with the name of a job and its progress, from a thread.
    """

    workers: int
    threads: int
    begin: Begin
    arguments: tuple[Any, ...]
    watch: Watch


class Engine(Protocol):
    """Runs functions in workers."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Start a function of a module; the future has its value, or its exception."""

    def stop(self) -> None:
        """Drop the jobs that wait, and let those that run stop; returns at once."""

    def close(self) -> None:
        """Drop the jobs that wait, wait for those that run, and end the workers."""


Start = Callable[[Setup], Engine]
_chosen: ContextVar[Start | None] = ContextVar("engine", default=None)


@contextmanager
def running_on(start: Start | None) -> Iterator[None]:
    """Run the fits of the block on an engine.

    Args:
        start: starts the engine; None: processes of this machine.
    """
    token = _chosen.set(start)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen() -> Start | None:
    """The engine of `running_on`; None: processes of this machine, where they pay."""
    return _chosen.get()


__all__ = ["Begin", "Engine", "Setup", "Start", "Stopped", "Watch", "chosen", "running_on"]
