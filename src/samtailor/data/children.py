"""Worker processes that end with the process that started them."""

from __future__ import annotations

import os
import threading
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess


def end_with_parent() -> None:
    """Let this process end as soon as the process that started it has ended, whatever ended that one.

    A worker of `concurrent.futures.ProcessPoolExecutor` otherwise waits for ever, with all of its memory, if its parent
    is killed. Call it in the initializer of the workers; it does nothing in a process that `multiprocessing` has not
    started.
    """
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), name="samtailor-parent", daemon=True).start()


def _follow(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)  # the main thread may be in a computation that no exception reaches


__all__ = ["end_with_parent"]
