"""Tables and messages in the terminal. Results go to standard output, everything else to standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def errors() -> Console:
    """Console of standard error; a new one if the stream was replaced, as tests do."""
    import sys

    return _console(sys.stderr)


def results() -> Console:
    """Console of standard output."""
    import sys

    return _console(sys.stdout)


@cache
def _console(stream: Any) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False)


def say(text: str) -> None:
    """Print one line on standard error."""
    errors().print(text, soft_wrap=True, markup=False)


def percent(value: float | None, interval: Sequence[float] | None = None, signed: bool = False) -> str:
    """A value in 0..1 as "71.2 [69.0, 73.1]" in percent; "-" for None."""
    if value is None:
        return "-"
    form = "{:+.1f}" if signed else "{:.1f}"
    text = form.format(100 * value)
    if interval is None:
        return text
    low, high = (form.format(100 * bound) for bound in interval)
    return f"{text} [{low}, {high}]"


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> None:
    """Print a table of numbers, except for the first column. It may exceed the window, so that no number is cut off."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    grid = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(head):
        grid.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*(str(cell) for cell in row))
    console = results()
    needed = Measurement.get(console, console.options.update(max_width=4000), grid).maximum
    Console(file=console.file, highlight=False, width=max(needed, min(console.width, 80))).print(grid)
    if note:
        console.print(note, style="dim", soft_wrap=True, markup=False)


def summaries(title: str, evaluations: Mapping[str, Mapping[str, Any]], note: str = "") -> None:
    """Print the scores of several evaluations (see `Evaluation.summary`) in percent; fits into 80 columns."""
    rows = [
        [
            name,
            percent(s["miou"], s["miou_interval"]),
            percent(s["oracle_miou"], s["oracle_miou_interval"]),
            percent(s["dice"]),
            percent(s["paper"]),
            str(s["masks"]),
        ]
        for name, s in evaluations.items()
    ]
    table(title, ["", "mIoU [95 %]", "oracle mIoU [95 %]", "Dice", "paper", "masks"], rows, note)


__all__ = ["errors", "percent", "results", "say", "summaries", "table"]
