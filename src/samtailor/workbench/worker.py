"""A fit or a labelling in a process of its own: `python -m samtailor.workbench.worker JOB.json`.

What happens is told in lines of JSON on standard output. It ends when its standard input does: that is how it is
stopped, and how it learns that the server was killed. It takes one core less than there are and a low priority, so
that clicks stay fast.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from samtailor.errors import SamtailorError

STOPPED = 3
"""Exit code after a stop that was asked for."""


class Stop(Exception):
    """Raised inside a job that was asked to stop."""


class Line:
    """To and from the server.

    Args:
        out: where lines go.
        every: seconds between two lines of progress; what lies between is left out.
    """

    def __init__(self, out: Any, every: float = 0.2) -> None:
        self._out, self._every, self._last = out, every, 0.0
        self._lock = threading.Lock()
        self.stop = threading.Event()

    def tell(self, **what: Any) -> None:
        """One line; when nobody reads any more the job is over."""
        try:
            with self._lock:
                self._out.write(json.dumps(what) + "\n")
                self._out.flush()
        except (BrokenPipeError, ValueError):
            self.stop.set()

    def progress(self, **what: Any) -> None:
        """Where the job stands; told now and then, and at the end of a stage."""
        now = time.monotonic()
        if now - self._last >= self._every or what.get("done") == what.get("total"):
            self._last = now
            self.tell(progress=what)

    def check(self) -> None:
        """Raise Stop when it was asked for."""
        if self.stop.is_set():
            raise Stop


def main(arguments: list[str]) -> int:
    """Run the job of a file; exit codes: 0 done, 2 it cannot be done (told), 3 stopped."""
    job = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    out, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints must not come between the lines
    line = Line(out)
    threading.Thread(target=_listen, args=(line.stop.set,), daemon=True).start()
    _be_modest()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        import_module(f"samtailor.workbench.work.{job['kind']}").run(job, line)
    except Stop:
        return STOPPED
    except KeyboardInterrupt:  # train.interrupt.Interrupted is one: saved and stopped
        return STOPPED
    except SamtailorError as error:
        line.tell(error=str(error))
        return 2
    return 0


def _listen(stop: Callable[[], None]) -> None:
    while os.read(0, 1):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    stop()


def _be_modest() -> None:
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    if hasattr(os, "nice"):
        os.nice(10)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
