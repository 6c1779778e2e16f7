"""Worker process of a fit or a labeling job: `python -m samtailor.workbench.worker JOB.json`.

The worker reports to the server in lines of JSON on standard output. It stops when its standard input ends, which is
also how it notices that the server was killed. A byte on standard input (`KEEP`) requests the best result so far. The
worker uses one core less than available and a low priority, so that predictions on the page stay fast.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from samtailor.errors import SamtailorError, fault_in_words
from samtailor.registry import choose

KINDS = {"fit": "fit", "label": "label", "find": "finding", "import": "importing", "measure": "measure"}
"""Modules of `work` by kind of job."""
_AT_ONCE = ("import", "measure", "find")  # jobs that a user waits for have the priority of the server
KEEP = "k"
"""Sent to a worker to end the job with the best result so far."""
STOPPED = 3
"""Exit code after a requested stop."""


class Stop(Exception):
    """Raised inside a job when a stop was requested."""


class Channel:
    """Connection of a job to the server.

    Args:
        out: stream that messages are written to.
        every: seconds between two progress messages; those in between are dropped.

    Attributes:
        stop: set if the job should stop.
        keep: set if a fit should end with the best result so far.
    """

    def __init__(self, out: TextIO, every: float = 0.2) -> None:
        self._out, self._every, self._last = out, every, 0.0
        self._lock = threading.Lock()
        self._clock = _StageClock()
        self.stop, self.keep = threading.Event(), threading.Event()

    def send(self, **message: Any) -> None:
        """Send one message. If the server is gone, the job is stopped."""
        try:
            with self._lock:
                self._out.write(json.dumps(message) + "\n")
                self._out.flush()
        except (BrokenPipeError, ValueError):
            self.stop.set()

    def progress(self, *, stage: str, done: int, total: int, **values: Any) -> None:
        """Report progress, at most every `every` seconds and at the end of a stage.

        Args:
            stage: see `Job.stage`.
            done, total: steps or images of the stage.
            values: other fields of `Job`. "seconds_left" is estimated from the speed of the stage if it is missing.
        """
        seconds_left = self._clock.seconds_left(stage, done, total)
        now = time.monotonic()
        if now - self._last >= self._every or done == total:
            self._last = now
            if values.get("seconds_left") is None:
                values["seconds_left"] = seconds_left
            self.send(progress={"stage": stage, "done": done, "total": total, **values})

    def check_stop(self, *, keep: bool = False) -> None:
        """Raise Stop if a stop was requested, or with `keep` also if the best result so far was requested."""
        if self.stop.is_set() or (keep and self.keep.is_set()):
            raise Stop


class _StageClock:
    """Remaining time of a stage, from its first progress report on."""

    def __init__(self) -> None:
        self._stage: tuple[str, int] | None = None
        self._start, self._first, self._last = 0.0, 0, 0

    def seconds_left(self, stage: str, done: int, total: int) -> float | None:
        """Estimate in seconds; None before there is a speed."""
        now = time.monotonic()
        if (stage, total) != self._stage or done < self._last:
            self._stage, self._start, self._first = (stage, total), now, done
        self._last = done
        if done == self._first:
            return None
        return (total - done) * (now - self._start) / (done - self._first)


def main(arguments: list[str]) -> int:
    """Run the job in a file. Exit codes: 0 done, 2 failed with an error message, 3 stopped."""
    job = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    out, sys.stdout = sys.stdout, sys.stderr  # prints of libraries must not mix with the messages
    channel = Channel(out)
    threading.Thread(target=_watch_input, args=(channel,), daemon=True).start()
    if job["kind"] not in _AT_ONCE:
        _lower_priority()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        module = KINDS[choose("kind", job["kind"], tuple(KINDS))]
        import_module(f"samtailor.workbench.work.{module}").run(job, channel)
    except Stop:
        return STOPPED
    except KeyboardInterrupt:  # includes train.interrupt.Interrupted: the fit was saved and stopped
        return STOPPED
    except SamtailorError as error:
        channel.send(error=str(error))
        return 2
    except Exception as error:
        if (words := fault_in_words(error)) is None:
            raise
        channel.send(error=words)
        return 2
    return 0


def _watch_input(channel: Channel) -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock would be held while the interpreter shuts down
        channel.keep.set()
    channel.stop.set()


def _lower_priority() -> None:
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    if hasattr(os, "nice"):
        os.nice(10)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
