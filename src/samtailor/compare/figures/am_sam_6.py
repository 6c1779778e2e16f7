"""`am-sam-6`: Dice over the calibration's alpha, for every data set (Li et al., arXiv 2410.09714, Fig. 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from samtailor.compare.run_folder import RunFolder
from samtailor.errors import InputError

OPTION = "alpha"


def build(runs: Sequence[RunFolder], *, objects: int, seed: int) -> Any:
    """The figure: a panel for each run, a line for each number of shots. Give one run for each data set."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(4.2 * len(runs) + 0.6, 3.4), layout="constrained")
    axes = made.subplots(1, len(runs), squeeze=False, sharey=True)[0]
    for axis, run in zip(axes, runs, strict=True):
        for shots, line in _lines(run).items():
            axis.plot(*zip(*line, strict=True), marker="o", ms=4, label=f"{shots} shots" if shots else "all images")
        axis.set(xlabel=OPTION, title=run.name)
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=8)
    axes[0].set_ylabel("Dice, %")
    return made


def _lines(run: RunFolder) -> dict[int | None, list[tuple[float, float]]]:
    """Points (alpha, Dice in percent, mean over seeds) by number of shots."""
    values = {title: one["options"].get(OPTION) for title, one in run.content.get("settings", {}).items()}
    rows = run.content.get("measured", run.content.get("rows", []))
    lines: dict[int | None, list[tuple[float, float]]] = {}
    for row in rows:
        value = values.get(row["title"])
        if value is not None:
            lines.setdefault(row["shots"], []).append((float(value), 100 * row["dice"]))
    if all(len(line) < 2 for line in lines.values()):
        raise InputError(f"{run.folder} has no rows with several values of {OPTION}. Run the recipe am-sam-figure6.")
    return {shots: sorted(line) for shots, line in lines.items()}


__all__ = ["build"]
