"""One job at a time, a fit or a labelling, in a process of its own; the server lives whatever becomes of it."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from samtailor.data.writing import write_json
from samtailor.serve.refusals import Taken, Unknown
from samtailor.workbench import worker as child

_PYTHON = (sys.executable, "-m")
_PATIENCE = 30.0  # seconds that a job has for saving before it is ended
_log = logging.getLogger("samtailor.workbench")


@dataclass(frozen=True)
class Job:
    """What the page is told of a job.

    Args:
        id: changes with each job.
        kind: "fit" or "label".
        state: how it is; only a running one changes.
        done, total: steps or images of the present stage.
        stage: "start", "encode", "fit", "settle", "gallery", "proposals" or "label".
        loss, miou, start_miou: of a fit; held-out mIoU now and before the first step, in [0, 1].
        alone_miou: likewise of what it finds without a prompt, once it is fitted.
        seconds_left, images_per_second: of the present stage.
        message: why it failed, or what the user is to know of the result.
        adapter: that is fitted, or that labels.
    """

    id: str
    kind: str
    adapter: str | None
    state: Literal["running", "done", "failed", "stopped"] = "running"
    done: int = 0
    total: int = 0
    stage: str = "start"
    loss: float | None = None
    miou: float | None = None
    start_miou: float | None = None
    alone_miou: float | None = None
    seconds_left: float | None = None
    images_per_second: float | None = None
    message: str | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Jobs:
    """See the head of the file.

    Args:
        folder: of the jobs' files and logs.
        changed: told of the job whenever something changes, from a thread.
        command: what is started, with the job's file as the last argument.
    """

    def __init__(
        self, folder: Path, changed: Callable[[Job], object], command: Sequence[str] = (*_PYTHON, child.__name__)
    ) -> None:
        self._folder, self._changed, self._command = folder, changed, tuple(command)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self.current: Job | None = None

    @property
    def running(self) -> bool:
        """Whether there is one in progress."""
        return self.current is not None and self.current.state == "running"

    def start(
        self, kind: str, adapter: str, work: Mapping[str, Any], *,
        line: Callable[[Mapping[str, Any]], object], finished: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    ) -> Job:  # fmt: skip
        """Begin a job.

        Args:
            kind: a file of `work`.
            adapter: told of it.
            work: what it is about, see there.
            line: called in a thread with each line that is no progress.
            finished: called in a thread with the last line; gives what is to be told at the end. What it raises is the
                job's failure.

        Raises:
            Taken: there is one in progress.
        """
        with self._lock:
            if self.running:
                raise Taken("A job is in progress. Wait for it, or stop it first.")
            job, self._stopping = Job(uuid4().hex[:12], kind, adapter), False
            self._process = None
            file = self._folder / f"{kind}-{adapter}.json"
            write_json(file, {"kind": kind, **work})
            self.current, log = job, file.with_suffix(".log")
            target = (file, log, line, finished)
            self._thread = threading.Thread(target=self._run, args=target, name="samtailor-job", daemon=True)
            self._thread.start()
        self._changed(job)
        return job

    def stop(self, wait: float | None = 5.0) -> Job:
        """Ask the job to stop, and wait a little for it; a fit keeps its checkpoint.

        Raises:
            Unknown: there is none.
        """
        if self.current is None:
            raise Unknown("There is no job.")
        self._stopping = True
        process, thread = self._process, self._thread
        if self.running and process is not None and process.stdin is not None:
            process.stdin.close()  # see `child`
            threading.Thread(target=_end, args=(process,), daemon=True).start()
        if thread is not None:
            thread.join(wait)
        return self.current

    def close(self) -> None:
        """Stop what runs; it saves."""
        if self.running:
            self.stop(_PATIENCE + 5)

    def _run(self, file: Path, log: Path, line: Callable, finished: Callable) -> None:
        last: dict[str, Any] = {}
        try:
            code = self._followed(file, log, line, last)
            if code == 0 and "done" in last:
                self._now(**finished(last["done"]), state="done", seconds_left=None)
            elif self._stopping or code == child.STOPPED:
                self._now(state="stopped", seconds_left=None)
            else:
                self._now(state="failed", message=last.get("error") or _why(code, log), seconds_left=None)
        except Exception as error:  # a thread has nobody else to tell
            _log.exception("The job in %s failed.", file)
            self._now(state="failed", message=f"{error}", seconds_left=None)

    def _followed(self, file: Path, log: Path, line: Callable, last: dict[str, Any]) -> int:
        """Run the process to its end; `last` gets what it says of its end."""
        with log.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [*self._command, str(file)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the server, which then asks the job to stop
            )  # fmt: skip
            try:
                if self._stopping:  # asked before there was anybody to ask
                    self._process.stdin.close()
                for text in self._process.stdout:
                    said = json.loads(text)
                    if "progress" in said:
                        self._now(**said["progress"])
                    elif "done" in said or "error" in said:
                        last.update(said)
                    else:
                        line(said)
                return self._process.wait()
            finally:
                self._process.kill()  # does nothing to one that has ended
                self._process.wait()
                self._process.stdout.close()
                if not self._process.stdin.closed:
                    self._process.stdin.close()

    def _now(self, **what: Any) -> None:
        if what.get("stage") not in (None, self.current.stage):
            what = {"seconds_left": None, "images_per_second": None, **what}
        kept = {key: value for key, value in what.items() if value is not None or not key.endswith(("miou", "loss"))}
        self.current = replace(self.current, **kept)
        self._changed(self.current)


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _why(code: int, log: Path) -> str:
    """Why a process ended that did not say it."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = " The system may have run out of memory." if name == "SIGKILL" else ""
        return f"The process was ended from outside ({name}).{hint} Start it again: it goes on where it was."
    lines = [text for text in log.read_text(encoding="utf-8", errors="replace").splitlines() if text.strip()]
    return f"It stopped without a word (exit code {code}). {lines[-1].strip()[:300] if lines else ''} See {log}."


__all__ = ["Job", "Jobs"]
