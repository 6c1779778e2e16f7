"""Progress of `samtailor batch`: images, rate, time left and cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from samtailor.cli.screen import errors, say
from samtailor.train.progress_lines import ProgressLines, minutes

if TYPE_CHECKING:
    from samtailor.distributed.cost import Price


@contextmanager
def metered(task: str, price: Price | None) -> Iterator[Callable[[int, int], None]]:
    """Progress of `task` on standard error, for callbacks of the form `progress(done, total)`.

    Args:
        task: what is going on.
        price: of the workers; None: no cost.
    """
    from samtailor.distributed.cost import Meter

    meter = Meter(price)
    if not errors().is_terminal:
        lines = ProgressLines(say)
        lines.start(task)

        def print_line(done: int, total: int) -> None:
            forecast = meter.update(done, total)
            lines.update(task, done, total, forecast.words(), forecast.seconds_left)

        yield print_line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"))
    with Progress(*columns, console=errors(), transient=True) as bar:
        row = bar.add_task(task, total=None, words="")

        def draw(done: int, total: int) -> None:
            forecast = meter.update(done, total)
            left = "" if forecast.seconds_left is None else f"{minutes(forecast.seconds_left)} left"
            words = ", ".join(part for part in (forecast.words(), left) if part)
            bar.update(row, completed=done, total=total, words=words)

        yield draw


__all__ = ["metered"]
