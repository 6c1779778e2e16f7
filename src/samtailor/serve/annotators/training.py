"""Run fits in a separate process, one at a time, while the service keeps running."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from samtailor import artefact
from samtailor.artefact import AdapterMeta
from samtailor.errors import ArtefactError, InputError
from samtailor.fitting.contest.budget import seconds
from samtailor.fitting.contest.classes import annotator_budget
from samtailor.fitting.contest.report.class_confusion import confusion_words
from samtailor.fitting.folder import PLAN
from samtailor.fitting.verdict import comparison_of, replaces_of
from samtailor.limits import module_command, parse_json, read_bytes
from samtailor.serve.annotators.collection import ANNOTATIONS

_log = logging.getLogger("samtailor.serve.annotators")
_ENDED = "ended"  # file in the folder of a fit that has ended


class Training:
    """See the module docstring. Each fit has a folder FOLDER/0001, FOLDER/0002, ... and a log file next to it.

    Args:
        folder: of the fits.
        data: COCO folder to fit to.
        base: name of the base.
        arguments: further arguments of `samtailor fit`.
        budget: time of each fit by the method auto; None: two minutes, or a minute for each class if that is more.
        propose: also train proposals, for automatic mode.
        done: called with the folder of a finished fit that replaces the adapter in use, in a thread.

    Attributes:
        current: folder of the newest fit.
        error: why it failed; None if it did not.
        outcome: sentences about the newest finished fit: who answers clicks and boxes, and whether it is used.
    """

    def __init__(
        self,
        folder: Path,
        data: Path,
        base: str,
        *,
        arguments: Sequence[str] = (),
        budget: str | None = None,
        propose: bool = False,
        done: Callable[[Path], object],
    ) -> None:
        self._folder, self._data, self._base = folder, data, base
        self._arguments, self._propose, self._done = tuple(arguments), propose, done
        self._budget = budget
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self.current: Path | None = None
        self.error: str | None = None
        self.outcome: tuple[str, ...] = ()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def running(self) -> bool:
        """Whether a fit is running, or its adapter is being loaded."""
        return self._thread is not None and self._thread.is_alive()

    def finished(self) -> list[Path]:
        """Folders of fits that have ended with an adapter, or with one for each class, oldest first."""
        return [folder for folder in self._numbered() if _ended(folder)]

    def in_use(self) -> Path | None:
        """The newest complete adapter that is not worse than the one before it; None without one."""
        for folder in reversed(self.finished()):
            try:
                if _replaces(folder):
                    return folder
            except ArtefactError as error:
                _log.warning("The adapter in %s is not used: %s", folder, error)
        return None

    def start(self) -> Path | None:
        """Start a fit and return its folder; None if one is running."""
        with self._lock:
            if self.running or self._closed:
                return None
            numbers = [int(folder.name) for folder in self._numbered()]
            self.outcome = ()
            self.current, self.error = self._folder / f"{max(numbers, default=0) + 1:04d}", None
            self._thread = threading.Thread(target=self._run, args=(self.current,), name="samtailor-fit", daemon=True)
            self._thread.start()
            return self.current

    def wait(self) -> None:
        """Wait until no fit is running."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Stop a running fit; it saves a checkpoint and can be resumed from the command line."""
        with self._lock:
            self._closed = True
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
        self.wait()

    def _numbered(self) -> list[Path]:
        return sorted(f for f in self._folder.iterdir() if f.is_dir() and f.name.isdecimal())

    def _run(self, out: Path) -> None:
        log = out.with_suffix(".log")
        try:
            present = self.in_use()
            out.mkdir()
            for commands in (lambda: self._commands(out, present), lambda: self._proposing(out)):
                if not all(self._succeeds(command, log) for command in commands()):
                    self.error = f"The fit stopped. {_last(log)}"
                    _log.warning("%s See %s.", self.error, log)
                    return
            (out / _ENDED).touch()
            self.outcome = tuple(outcome(out))
            if _replaces(out):
                self._done(out)
            else:
                _log.warning("The adapter in %s is not used. %s", out, " ".join(self.outcome))
        except Exception as error:  # nothing catches errors of a thread; /is_training returns `error`
            self.error = f"The fit cannot be used: {error}"
            _log.exception("The fit in %s cannot be used.", out)

    def _commands(self, out: Path, present: Path | None) -> list[list[str]]:
        fit = ["fit", str(self._data), "--format", "coco", "--out", str(out), "--base", self._base, *self._arguments]
        fit += [] if present is None else ["--present", str(present)]
        if METHOD in self._arguments:
            names = self._classes()
            fit += ["--budget", annotator_budget(self._budget, names), *(["--per-class"] if len(names) > 1 else [])]
        return [fit]

    def _proposing(self, out: Path) -> list[list[str]]:
        """Commands that train the proposals of a finished fit."""
        propose = ["propose-fit", str(self._data), "--format", "coco", "--adapter"]
        return [[*propose, folder] for folder in artefact.members(out).values()] if self._propose else []

    def _classes(self) -> list[str]:
        """Classes of the data."""
        content = parse_json(read_bytes(self._data / ANNOTATIONS, "annotation_bytes"), str(self._data), nested=True)
        return [one["name"] for one in content["categories"]]

    def _succeeds(self, command: Sequence[str], log: Path) -> bool:
        with log.open("ab") as stream:
            with self._lock:
                if self._closed:
                    return False
                self._process = subprocess.Popen(
                    [*module_command("samtailor"), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                )
            return self._process.wait() == 0


def outcome(folder: Path) -> list[str]:
    """Sentences about a finished fit, compared with the base model and with the adapter in use."""
    return [*confusion_words(folder), *comparison_of(_metas(folder))]


def _replaces(folder: Path) -> bool:
    """Whether a finished fit is used: not if it was compared with the adapter in use, and is worse."""
    return replaces_of(_metas(folder)) is not False


def _ended(folder: Path) -> bool:
    """Whether a fit has ended with an adapter; a contest writes a first one long before its end."""
    alone = (folder / artefact.METADATA).is_file() and not (folder / PLAN).is_file()
    return alone or ((folder / _ENDED).is_file() and bool(artefact.members(folder)))


def _metas(folder: Path) -> dict[str, AdapterMeta]:
    """Metadata of the adapter of a fit, or of that of each class."""
    return {name: artefact.read_meta(one) for name, one in artefact.members(folder).items()}


METHOD = "auto"
"""Default method of the fits."""


def fit_arguments(
    method: str | None, steps: int | None, settings: Sequence[str], budget: str | None = None
) -> list[str]:
    """Arguments of `samtailor fit`, without the budget, which depends on the classes.

    Raises:
        InputError: a setting that is not KEY=VALUE, or a budget that is no time or is given with a single method.
    """
    if budget is not None:
        seconds(budget)
        if method not in (None, METHOD):
            raise InputError(f"A budget is a setting of the method {METHOD}, and the method is {method}. Leave it out.")
    if wrong := [pair for pair in settings if "=" not in pair]:
        raise InputError(f"Expected KEY=VALUE, got {wrong[0]!r}.")
    options = {"--method": method or METHOD, "--steps": steps}
    named = [part for name, value in options.items() if value is not None for part in (name, str(value))]
    return [*named, *(part for pair in settings for part in ("--set", pair))]


def _last(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


__all__ = ["Training", "fit_arguments", "outcome"]
