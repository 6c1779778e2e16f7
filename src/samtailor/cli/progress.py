"""Progress of commands on standard error: bars in a terminal, otherwise a line every ten seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from samtailor.cli.screen import errors, say
from samtailor.train.progress_lines import ProgressLines, count_lines, figures, fit_lines, minutes, stage_name

if TYPE_CHECKING:
    from rich.progress import TaskID

    from samtailor.train.progress import Progress


@contextmanager
def counting(task: str) -> Iterator[Callable[[int, int], None]]:
    """Progress of `task`, for callbacks of the form `progress(done, total)`."""
    if not errors().is_terminal:
        yield count_lines(ProgressLines(say), task)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=errors(), transient=True) as bar:
        row = bar.add_task(task, total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)


@contextmanager
def fit_progress() -> Iterator[Callable[[Progress], None]]:
    """Progress of one or several fits: loss, held-out mIoU, images per second and time left."""
    if not errors().is_terminal:
        lines = ProgressLines(say)
        lines.start("Loading base model and data")
        yield fit_lines(lines)
        return
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[figures]}"))
    with Bar(*columns, console=errors(), transient=True) as bar:
        opening = bar.add_task("Loading base model and data", total=None, figures="")
        rows: dict[str | None, TaskID] = {}

        def show(progress: Progress) -> None:
            bar.update(opening, visible=False)
            finished = {task.id for task in bar.tasks if task.finished}
            for other in [key for key, row in rows.items() if key != progress.name and row in finished]:
                bar.remove_task(rows.pop(other))
            if progress.name not in rows:
                rows[progress.name] = bar.add_task(stage_name(progress), total=None, figures="")
            state: dict[str, Any] = {"completed": progress.done, "total": progress.total}
            bar.update(rows[progress.name], description=stage_name(progress), figures=_with_time(progress), **state)

        yield show


@contextmanager
def watching() -> Iterator[Callable[[str, Progress], None]]:
    """Progress of fits that run in parallel, one row for each name."""
    with fit_progress() as show:
        yield lambda name, progress: show(replace(progress, name=name))


def _with_time(progress: Progress) -> str:
    left = "" if progress.seconds_left is None else f"{minutes(progress.seconds_left)} left"
    return "  ".join(part for part in (f"{progress.done}/{progress.total}", figures(progress), left) if part)


__all__ = ["counting", "fit_progress", "watching"]
