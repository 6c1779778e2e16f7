"""Fits as tasks of a Ray cluster: each worker is an actor that holds a base model and runs one fit at a time.

Data, output and cache are files, which all machines of the cluster must reach at the same paths.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

from samtailor.distributed.engines import cluster
from samtailor.distributed.extras import library
from samtailor.errors import InputError
from samtailor.fitting.engines import Engine, Setup, Start, Watch

_POLL = 0.3
"""Seconds between two looks of the driver at the progress, and of a worker at whether it should stop."""


@dataclass
class _Board:
    """What the driver and the workers tell each other; runs as an actor."""

    stopped: bool = False

    def __post_init__(self) -> None:
        self._news: list[tuple[str, Any]] = []

    def report(self, name: str, progress: Any) -> None:
        self._news.append((name, progress))

    def take(self) -> list[tuple[str, Any]]:
        news, self._news = self._news, []
        return news

    def stop(self) -> None:
        self.stopped = True

    def is_stopped(self) -> bool:
        return self.stopped


class _Worker:
    """An actor that runs jobs."""

    def __init__(self, setup: Setup, board: Any, folder: str) -> None:
        self._setup, self._board, self._folder = setup, board, folder
        self._begun, self._stopped, self._asked = False, False, 0.0

    def run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
        """Value and exception. Ray itself would replace exceptions, and a stopped fit is a KeyboardInterrupt."""
        try:
            self._begin()
            return function(*arguments), None
        except BaseException as error:
            return None, error

    def _begin(self) -> None:
        if self._begun:
            return
        import torch

        try:
            os.chdir(self._folder)  # paths of the command are relative to it
        except OSError as error:
            raise InputError(
                f"A worker has no folder {self._folder}, in which the command runs. All machines of the cluster need "
                "data, output and cache at the same paths, for example on a network drive."
            ) from error
        torch.set_num_threads(self._setup.threads)
        self._setup.begin(self._report, self._is_stopped, *self._setup.arguments)
        self._begun = True

    def _report(self, name: str, progress: Any) -> None:
        self._board.report.remote(name, progress)

    def _is_stopped(self) -> bool:
        if time.monotonic() - self._asked > _POLL:
            self._stopped = library("ray", why="A worker").get(self._board.is_stopped.remote())
            self._asked = time.monotonic()
        return self._stopped


class RayTasks:
    """Workers on a Ray cluster; see `fitting.engines.Engine`.

    Args:
        setup: how workers start.
        address: of a cluster; None starts one on this machine.
        gpus: of a worker; may be a fraction.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: the cluster does not answer.
    """

    def __init__(self, setup: Setup, address: str | None = None, gpus: float = 0.0) -> None:
        self._ray = ray = library("ray", why="The engine ray")
        self._started = cluster.connect(ray, address, setup.workers * setup.threads, "Use --engine processes.")
        self._board = ray.remote(num_cpus=0)(_Board).remote()
        kept = Setup(setup.workers, setup.threads, setup.begin, setup.arguments, _nowhere)
        actor = ray.remote(num_cpus=setup.threads, num_gpus=gpus)(_Worker)
        self._workers: list[Any] = [actor.remote(kept, self._board, os.getcwd()) for _ in range(setup.workers)]
        self._free: SimpleQueue[Any] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(setup.workers)
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(setup.watch,), daemon=True)
        self._reader.start()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Start a function."""
        return self._threads.submit(self._call, function, arguments)

    def stop(self) -> None:
        """Let all jobs stop."""
        self._board.stop.remote()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the workers."""
        self._threads.shutdown(cancel_futures=True)
        self._closed.set()
        self._reader.join()
        for actor in (*self._workers, self._board):
            self._ray.kill(actor)
        if self._started:
            self._ray.shutdown()

    def _call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        worker = self._free.get()
        try:
            value, error = self._ray.get(worker.run.remote(function, arguments))
        except self._ray.exceptions.RayActorError as died:
            raise InputError(
                "A worker of the Ray cluster died, perhaps because its memory was used up. Run the same command again "
                "(fit: with --resume), with fewer workers on a machine; finished fits of a comparison are kept."
            ) from died
        finally:
            self._free.put(worker)
        if error is not None:
            raise error
        return value

    def _read(self, watch: Watch) -> None:
        """Call `watch` with what workers report, until the end."""
        last = False
        while not last:
            last = self._closed.wait(_POLL)
            for name, progress in self._ray.get(self._board.take.remote()):
                watch(name, progress)


def _nowhere(name: str, progress: Any) -> None:
    """The `watch` of the workers, which report to the board."""


def on_ray(address: str | None = None, gpus: float = 0.0) -> Start:
    """An engine for `fitting.engines.running_on`.

    Args:
        address, gpus: see `RayTasks`.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: an address of Ray Client.
    """
    library("ray", why="The engine ray")
    cluster.Resources(address, gpus=gpus)
    start: Callable[[Setup], Engine] = partial(RayTasks, address=address, gpus=gpus)
    return start


__all__ = ["RayTasks", "on_ray"]
