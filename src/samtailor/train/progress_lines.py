"""Progress as lines of text, for logs, notebooks and CI, where a progress bar cannot be drawn."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samtailor.train.progress import Progress

STAGES = {
    "draw": "Drawing images",
    "encode": "Encoding images",
    "fit": "Training",
    "select": "Selecting tiled inference",
    "evaluate": "Evaluating",
    "contest": "Comparing candidates, seconds",
}
"""What the stages of a fit are called; another stage goes by its own name."""
SECONDS = 10.0
"""Seconds between two lines of one task."""


@dataclass
class _Task:
    started: float
    printed: float
    first: int
    finished: bool = False


class ProgressLines:
    """Prints a line when a task starts and then one every ten seconds; a last line if the task took longer than that.

    Args:
        write: called with each line; None prints to standard error.
        clock: time in seconds.
        every: seconds between two lines of one task.
    """

    def __init__(
        self,
        write: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        every: float = SECONDS,
    ) -> None:
        self._write, self._clock, self._every = write or _to_standard_error, clock, every
        self._tasks: dict[str, _Task] = {}

    def start(self, task: str) -> None:
        """Announce a task before its first update."""
        if task not in self._tasks:
            now = self._clock()
            self._tasks[task] = _Task(now, now, 0)
            self._write(f"{task} ...")

    def update(self, task: str, done: int, total: int, figures: str = "", seconds_left: float | None = None) -> None:
        """Print a line if it is time for one.

        Args:
            task: what is going on, for example "Training".
            done, total: steps or images.
            figures: further text, for example the loss.
            seconds_left: remaining time; None estimates it from the speed of this task.
        """
        if task not in self._tasks:
            self.start(task)
            self._tasks[task].first = done  # a resumed fit does not start at 0
        row, now = self._tasks[task], self._clock()
        end = done >= total
        if row.finished or (now - row.printed < self._every and not (end and row.printed > row.started)):
            row.finished = row.finished or end
            return
        row.printed, row.finished = now, end
        if seconds_left is None and done > row.first:
            seconds_left = (total - done) * (now - row.started) / (done - row.first)
        parts = [f"{task}: {done}/{total}", figures]
        if end:
            parts.append(f"finished in {minutes(now - row.started)}")
        elif seconds_left is not None:
            parts.append(f"{minutes(seconds_left)} left")
        self._write(", ".join(part for part in parts if part))


def fit_lines(lines: ProgressLines) -> Callable[[Progress], None]:
    """A `progress` callback of `fit` that prints lines."""
    return lambda progress: lines.update(
        stage_name(progress), progress.done, progress.total, figures(progress), progress.seconds_left
    )


def count_lines(lines: ProgressLines, task: str) -> Callable[[int, int], None]:
    """A callback of the form `progress(done, total)` that prints lines; the first one at once."""
    lines.start(task)
    return lambda done, total: lines.update(task, done, total)


def stage_name(progress: Progress) -> str:
    """Name of the fit, if it has one, and its stage in words."""
    stage = STAGES.get(progress.stage, progress.stage.capitalize())
    return f"{progress.name}: {stage.lower()}" if progress.name else stage


def figures(progress: Progress) -> str:
    """Loss, held-out mIoU and speed, as far as they are known."""
    parts = []
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.miou is not None:
        best = "" if progress.best_miou is None else f" (best {100 * progress.best_miou:.1f})"
        parts.append(f"held-out mIoU {100 * progress.miou:.1f}{best}")
    if progress.images_per_second is not None:
        parts.append(f"{progress.images_per_second:.1f} images/s")
    return ", ".join(parts)


def minutes(seconds: float) -> str:
    """A duration as "m:ss" or "h:mm:ss"."""
    whole, rest = divmod(round(seconds), 60)
    hours, whole = divmod(whole, 60)
    return f"{hours}:{whole:02d}:{rest:02d}" if hours else f"{whole}:{rest:02d}"


def _to_standard_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


__all__ = ["SECONDS", "STAGES", "ProgressLines", "count_lines", "figures", "fit_lines", "minutes", "stage_name"]
