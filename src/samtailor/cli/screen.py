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
    from samtailor.evaluation.scores import percent as as_percent

    return as_percent(value, interval, signed)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> None:
    """Print a table of numbers, except for the first column. It may exceed the window, so that no number is cut off."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(head):
        grid.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*(str(cell) for cell in row))
    console = results()
    needed = Measurement.get(console, console.options.update(max_width=4000), grid).maximum
    console.print(title, style="bold", soft_wrap=True, markup=False)  # a title of the table would wrap at its width
    Console(file=console.file, highlight=False, width=max(needed, min(console.width, 80))).print(grid)
    if note:
        console.print(note, style="dim", soft_wrap=True, markup=False)


def summaries(title: str, evaluations: Mapping[str, Mapping[str, Any]], note: str = "") -> None:
    """Print the scores of several evaluations (see `Evaluation.summary`) in percent.

    Each has its 95 % interval and the number of masks, images and groups. With too few masks only these are printed.
    """
    from samtailor.evaluation.scores import TOO_FEW, reported

    figures, rows = ("miou", "oracle_miou", "dice", "paper"), []
    for name, summary in evaluations.items():
        one = reported(summary)
        scores = [percent(one[figure], one.get(f"{figure}_interval")) for figure in figures]
        scores = [TOO_FEW, "", "", ""] if one["too_few"] else scores
        rows.append([name, *scores, counts_of(one)])
    head = ["", *(f"{name} [95 %]" for name in ("mIoU", "oracle mIoU", "Dice", "paper")), "masks/images/groups"]
    table(title, head, rows, note)


def counts_of(summary: Mapping[str, Any]) -> str:
    """ "30/12/10": masks, images and groups that a summary is based on."""
    return "/".join(str(summary[name]) for name in ("masks", "images", "groups") if summary.get(name) is not None)


__all__ = ["counts_of", "errors", "percent", "results", "say", "summaries", "table"]
