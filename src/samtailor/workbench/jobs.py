"""Fits and labeling jobs: one at a time, in a worker process, so that a crash of a job does not affect the server."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from samtailor.data.writing import write_json
from samtailor.limits import module_command
from samtailor.serve.refusals import Taken, Unknown
from samtailor.workbench import worker

_COMMAND = module_command(worker.__name__)
_STOP_SECONDS = 30.0  # a job that has not saved and stopped by then is killed
_log = logging.getLogger("samtailor.workbench")

Message = Mapping[str, Any]
"""A message of a worker."""


@dataclass(frozen=True)
class Job:
    """State of a job, as the page receives it.

    Args:
        id: unique.
        kind: "fit", "label", "find", "import" or "measure".
        adapter: the adapter that is fitted, or that labels; the name of the data set that is imported, or of the class
            that is found.
        state: only a running job changes.
        done, total: steps or images of the present stage.
        stage: "start", "encode", "gallery", "proposals", "label", "references", "find", "import", "download" (in
            megabytes), "measure", or a stage of the fit, see `train.progress.Progress`.
        part: what of the stage is in progress, such as a class or a candidate; None if it has no name.
        keeping: the best result so far was requested.
        loss: training loss.
        miou, start_miou: held-out mIoU of clicks, now and before the first step, in [0, 1].
        automatic_miou: held-out mIoU of automatic mode after the fit, in [0, 1].
        held_out_images, held_out_objects: number of images and objects behind these scores, after the fit. With fewer
            than 5 objects there are no scores.
        interval: 95 % interval of `miou`, after the fit.
        comparison: sentences about the fit: who answers clicks and boxes, and whether the new adapter is better than
            the present one.
        replaces: whether the new adapter replaces the present one; None without a present one.
        next_images: ids of the images to mark next, after a fit that suggests some.
        seconds_left: of the present stage.
        images_per_second: of the present stage.
        message: the error, or a note on the result.
        report: of an import, see `Session.import_data`; of "find", see `Finding`.
    """

    id: str
    kind: str
    adapter: str | None
    state: Literal["running", "done", "failed", "stopped"] = "running"
    done: int = 0
    total: int = 0
    stage: str = "start"
    part: str | None = None
    keeping: bool = False
    loss: float | None = None
    miou: float | None = None
    start_miou: float | None = None
    automatic_miou: float | None = None
    held_out_images: int | None = None
    held_out_objects: int | None = None
    interval: tuple[float, float] | None = None
    comparison: tuple[str, ...] = ()
    replaces: bool | None = None
    next_images: tuple[str, ...] = ()
    seconds_left: float | None = None
    images_per_second: float | None = None
    message: str | None = None
    report: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields as a dict."""
        return asdict(self)


class Jobs:
    """Runs one job at a time.

    Args:
        folder: folder of the job files and logs.
        changed: called with the job after each change, in a thread.
        command: command that is started, with the job file as the last argument.
    """

    def __init__(self, folder: Path, changed: Callable[[Job], object], command: Sequence[str] = _COMMAND) -> None:
        self._folder, self._changed, self._command = folder, changed, tuple(command)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self.current: Job | None = None

    @property
    def running(self) -> bool:
        """Whether a job is in progress."""
        return self.current is not None and self.current.state == "running"

    def check_free(self) -> None:
        """Raise Taken if a job is in progress."""
        if self.running:
            raise Taken("A job is in progress. Wait until it is done, or stop it first.")

    def start(
        self, kind: str, adapter: str, work: Mapping[str, Any], *,
        on_message: Callable[[Message], object], on_done: Callable[[Message], Mapping[str, Any]],
    ) -> Job:  # fmt: skip
        """Start a job.

        Args:
            kind: name of a module in `work`.
            adapter: name of the adapter.
            work: input of the job, see its module.
            on_message: called in a thread with each message that is neither progress nor the end.
            on_done: called in a thread with the result. Returns fields of the finished job. If it raises, the job has
                failed.

        Raises:
            Taken: a job is in progress.
        """
        with self._lock:
            self.check_free()
            job, self._stopping = Job(uuid4().hex[:12], kind, adapter), False
            self._process = None
            file = self._folder / f"{kind}-{adapter}.json"
            write_json(file, {**work, "kind": kind})
            self.current, log = job, file.with_suffix(".log")
            target = (file, log, on_message, on_done)
            self._thread = threading.Thread(target=self._run, args=target, name="samtailor-job", daemon=True)
            self._thread.start()
        self._changed(job)
        return job

    def stop(self, wait: float | None = 5.0) -> Job:
        """Request a stop, and wait up to `wait` seconds for it. A fit keeps its checkpoint.

        Raises:
            Unknown: there is no job.
        """
        if self.current is None:
            raise Unknown("There is no job.")
        self._stopping = True
        process, thread = self._process, self._thread
        if self.running and process is not None and process.stdin is not None:
            process.stdin.close()  # see `worker`
            threading.Thread(target=_kill_later, args=(process,), daemon=True).start()
        if thread is not None:
            thread.join(wait)
        return self.current

    def keep(self) -> Job:
        """End a running fit with the best result so far; returns at once.

        Raises:
            Unknown: no fit is in progress. Taken: its process does not run yet.
        """
        process = self._process
        if not self.running or self.current is None or self.current.kind != "fit":
            raise Unknown("No fit is in progress.")
        if process is None or process.stdin is None:
            raise Taken("The fit is starting. Try again in a moment.")
        try:
            process.stdin.write(worker.KEEP)
            process.stdin.flush()
        except (OSError, ValueError):  # it has just ended, or is being stopped
            return self.current
        self._update(keeping=True)
        return self.current

    def close(self) -> None:
        """Stop a running job and wait until it has saved."""
        if self.running:
            self.stop(_STOP_SECONDS + 5)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the job has ended, at most `timeout` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(
        self,
        file: Path,
        log: Path,
        on_message: Callable[[Message], object],
        on_done: Callable[[Message], Mapping[str, Any]],
    ) -> None:
        last: dict[str, Any] = {}
        try:
            code = self._follow(file, log, on_message, last)
            if code == 0 and "done" in last:
                self._update(**on_done(last["done"]), state="done", seconds_left=None)
            elif self._stopping or code == worker.STOPPED:
                self._update(state="stopped", seconds_left=None)
            else:
                self._update(state="failed", message=last.get("error") or _reason(code, log), seconds_left=None)
        except Exception as error:  # this is a thread: the page is the only place to report the error
            _log.exception("The job in %s failed.", file)
            self._update(state="failed", message=f"{error}", seconds_left=None)

    def _follow(self, file: Path, log: Path, on_message: Callable[[Message], object], last: dict[str, Any]) -> int:
        """Run the worker to its end and return its exit code; `last` receives its result or error."""
        with (
            log.open("w", encoding="utf-8") as errors,
            subprocess.Popen(
                [*self._command, str(file)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the server, which then stops the job
            ) as process,
        ):  # fmt: skip
            self._process = process
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("The worker process has no pipes.")
            try:
                if self._stopping:  # requested before the process existed
                    process.stdin.close()
                for line in process.stdout:
                    message = json.loads(line)
                    if "progress" in message:
                        self._update(**_known(message["progress"]))
                    elif "failed" not in message and ("done" in message or "error" in message):
                        last.update(message)
                    else:
                        on_message(message)
                return process.wait()
            finally:
                process.kill()  # has no effect on a process that has ended

    def _update(self, **values: Any) -> None:
        job = self.current
        if job is None:
            return
        if values.get("stage") not in (None, job.stage):
            values = {"seconds_left": None, "images_per_second": None, **values}
        self.current = replace(job, **values)
        self._changed(self.current)


def _known(progress: Mapping[str, Any]) -> dict[str, Any]:
    """Progress without the scores that a stage does not have, so that the last ones stay."""
    return {key: value for key, value in progress.items() if value is not None or not key.endswith(("miou", "loss"))}


def _kill_later(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _reason(code: int, log: Path) -> str:
    """Error message for a process that ended without one."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = " The system may have run out of memory." if name == "SIGKILL" else ""
        return f"The job was killed ({name}).{hint} Start it again to continue."
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    last = f" Last line of the log: {lines[-1].strip()[:300]}" if lines else ""
    return f"The job ended unexpectedly (exit code {code}).{last} Full log: {log}"


__all__ = ["Job", "Jobs", "Message"]
