"""Fits in processes of this machine."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import Any
from weakref import WeakSet

from samtailor.data.children import end_with_parent
from samtailor.fitting.engines import Begin, Setup, Watch


class Processes:
    """Processes of this machine.

    Scripts need no `if __name__ == "__main__":`, since the processes do not import the main module of this one.

    Args:
        setup: how workers start.
    """

    def __init__(self, setup: Setup) -> None:
        context = get_context("spawn")  # a fork of a process that has used threads of torch may hang
        self._stop, self._messages = context.Event(), context.Queue()
        self._reader = threading.Thread(target=_forward, args=(self._messages, setup.watch), daemon=True)
        self._reader.start()
        arguments = (self._stop, self._messages, setup.threads, setup.begin, setup.arguments)
        self._executor = ProcessPoolExecutor(setup.workers, context, _begin, arguments)
        self._submitted: WeakSet[Future[Any]] = WeakSet()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Start a function; see `Engine`.

        Raises:
            AttributeError, TypeError, PicklingError: the arguments cannot be sent to a process.
        """
        ForkingPickler.dumps((function, arguments))  # in the thread of the executor it would fail without an end
        with _without_main():
            future = self._executor.submit(function, *arguments)
        self._submitted.add(future)
        return future

    def stop(self) -> None:
        """Let all jobs stop; see `Engine`."""
        self._stop.set()
        for future in list(self._submitted):  # `shutdown(wait=False)` would keep `close` from waiting
            future.cancel()

    def close(self) -> None:
        """End the workers; see `Engine`."""
        self._executor.shutdown(cancel_futures=True)
        self._messages.put(None)
        self._reader.join()


def _forward(messages: Any, watch: Watch) -> None:
    """Call `watch` with each message of a queue, until there is a None."""
    while (message := messages.get()) is not None:
        watch(*message)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module, which a spawned process would import and run again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _begin(stop: Any, messages: Any, threads: int, begin: Begin, arguments: tuple[Any, ...]) -> None:
    """In a worker."""
    import signal

    import torch

    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one stops the others
    torch.set_num_threads(threads)
    begin(lambda name, progress: messages.put((name, progress)), stop.is_set, *arguments)


__all__ = ["Processes"]
