"""Several processes behind one port: `samtailor serve --workers`.

The parent opens the port, starts the workers, replaces those that end, and stops them. Each worker has its own base
model and accepts connections from the same socket; `serve.shared` holds what they have in common. The parent imports
no torch. A worker stops when the pipe to its parent closes, so that none is left behind.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from samtailor.errors import SamtailorError, fault_in_words
from samtailor.serve import run
from samtailor.serve.run_folder import run_folder
from samtailor.serve.setup import ServiceSettings

MAX_ENDED = 5
"""The service stops if more workers than this end within `PERIOD` seconds."""
PERIOD = 60.0
_POLL = 0.5  # seconds
_log = logging.getLogger("samtailor.serve")


def serve_workers(
    settings: ServiceSettings, host: str, port: int, workers: int, announce: Callable[[str], None]
) -> None:
    """Serve with several processes until SIGINT (Ctrl-C) or SIGTERM.

    Args:
        settings: of the service; without `shared` the processes share a temporary folder in the cache.
        host: address to listen on.
        port: to listen on.
        workers: number of processes.
        announce: called with the name of the base model when all processes accept requests.

    Raises:
        InputError: the port cannot be opened.
        SamtailorError: a worker cannot start, or workers end again and again.
        KeyboardInterrupt: stopped by SIGINT.
    """
    from samtailor.serve.shared import SharedFolder

    with run.opened(host, port) as listening, run_folder() as folder, _environment(folder / "metrics", workers):
        settings = replace(settings, shared=settings.shared or folder / "shared")
        SharedFolder(settings.shared or folder).begin(settings.adapters)
        pool = _Pool(settings, listening, workers, folder / "metrics")
        with _signals() as received:
            try:
                name = pool.start(received)
                if name is not None:
                    announce(name)
                    pool.watch(received)
            finally:
                pool.stop(received)
        if signal.SIGINT in received:
            raise KeyboardInterrupt
    if received:  # the exit status of the process tells the signal
        signal.signal(received[0], signal.SIG_DFL)
        os.kill(os.getpid(), received[0])


@dataclass
class _Worker:
    number: int
    process: Any
    pipe: Connection
    is_ready: bool = False

    def message(self) -> tuple[str, str] | None:
        """What the worker sent, "ready" or "error" with a text; None if there is nothing."""
        with suppress(EOFError, OSError):
            if self.pipe.poll():
                kind, text = self.pipe.recv()
                self.is_ready = self.is_ready or kind == "ready"
                return kind, text
        return None


class _Pool:
    """The workers of a service."""

    def __init__(self, settings: ServiceSettings, listening: socket.socket, count: int, metrics: Path) -> None:
        self._settings, self._listening, self._count, self._metrics = settings, listening, count, metrics
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._ended: deque[float] = deque()

    def start(self, received: list[int]) -> str | None:
        """Start all workers and wait until they accept requests; the name of the base, or None if stopped before.

        Raises:
            SamtailorError: one of them cannot start.
        """
        self._workers = [self._started(number, first=True) for number in range(1, self._count + 1)]
        name = ""
        while not all(worker.is_ready for worker in self._workers):
            if received:
                return None
            wait([w.pipe for w in self._workers if not w.is_ready], _POLL)
            for worker in self._workers:
                message = worker.message()
                if message is not None and message[0] == "error":
                    raise SamtailorError(message[1])
                if message is not None:
                    name = message[1]
                elif not worker.process.is_alive():
                    raise SamtailorError(f"Worker {worker.number} {_end(worker.process)} while it started.")
        return name

    def watch(self, received: list[int]) -> None:
        """Replace workers that end, until a signal arrives.

        Raises:
            SamtailorError: workers end again and again.
        """
        while not received:
            wait([worker.process.sentinel for worker in self._workers], _POLL)
            for place, worker in enumerate(self._workers):
                message = worker.message()
                if not worker.process.is_alive() and not received:
                    reason = message[1] if message is not None and message[0] == "error" else ""
                    self._workers[place] = self._replaced(worker, reason)

    def stop(self, received: list[int]) -> None:
        """Let workers finish the requests in progress, and end them; at once after a second signal."""
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()
        deadline = time.monotonic() + run.GRACE + 5
        while any(worker.process.is_alive() for worker in self._workers):
            if len(received) > 1 or time.monotonic() > deadline:
                for worker in self._workers:
                    worker.process.kill()
            wait([worker.process.sentinel for worker in self._workers if worker.process.is_alive()], _POLL)
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()

    def _replaced(self, worker: _Worker, reason: str) -> _Worker:
        from samtailor.serve.metrics import forget_worker

        worker.process.join()
        worker.pipe.close()
        forget_worker(worker.process.pid, str(self._metrics))
        now, what = time.monotonic(), f"Worker {worker.number} (process {worker.process.pid}) {_end(worker.process)}"
        what += f": {reason}" if reason else "."
        self._ended.append(now)
        while self._ended[0] < now - PERIOD:
            self._ended.popleft()
        if len(self._ended) > MAX_ENDED:
            raise SamtailorError(
                f"{what} {len(self._ended)} workers ended within {PERIOD:.0f} s, so the service stops. If the system "
                "ran out of memory, use fewer --workers, or a smaller --memory."
            )
        _log.warning("%s It is replaced; requests that it was working on are lost.", what)
        return self._started(worker.number, first=False)

    def _started(self, number: int, first: bool) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(self._settings, self._listening, theirs, first), name=f"samtailor-worker-{number}"
        )
        process.start()
        theirs.close()
        return _Worker(number, process, ours)


def _end(process: Any) -> str:
    """How a process ended, as part of a sentence."""
    code = process.exitcode
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


@contextmanager
def _environment(metrics: Path, workers: int) -> Iterator[None]:
    """Variables that the workers inherit: the folder of the metrics, and their part of the cores."""
    from samtailor.serve.metrics import VARIABLE

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = {VARIABLE: str(metrics)}
    if "OMP_NUM_THREADS" not in os.environ:
        given["OMP_NUM_THREADS"] = str(max(1, cores // workers))
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list."""
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# -- in a worker


def _work(settings: ServiceSettings, listening: socket.socket, pipe: Connection, first: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent stops the workers
    from uvicorn import Server

    from samtailor.serve.setup import make_app

    class Announcing(Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                pipe.send(("ready", app.state.base))

    try:
        app = make_app(settings, strict=first)
    except Exception as error:
        words = str(error) if isinstance(error, SamtailorError) else fault_in_words(error)
        if words is None:
            raise
        pipe.send(("error", words))
        return
    server = run.make_server(app, Announcing)
    threading.Thread(target=_stop_without_parent, args=(pipe, server), daemon=True).start()
    server.run(sockets=[listening])


def _stop_without_parent(pipe: Connection, server: Any) -> None:
    with suppress(EOFError, OSError):
        pipe.recv()  # the parent sends nothing
    server.should_exit = True


__all__ = ["MAX_ENDED", "PERIOD", "serve_workers"]
