"""`am-sam-6`: Dice over the calibration's alpha, for every data set (Li et al., arXiv 2410.09714, Fig. 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from samtailor.compare.run_folder import RunFolder
from samtailor.errors import InputError, counted
from samtailor.evaluation.scores import MIN_OBJECTS, TOO_FEW

OPTION = "alpha"


def build(runs: Sequence[RunFolder], *, objects: int, seed: int) -> Any:
    """The figure: a panel for each run, a line for each number of shots. Give one run for each data set."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(4.2 * len(runs) + 0.6, 3.4), layout="constrained")
    axes = made.subplots(1, len(runs), squeeze=False, sharey=True)[0]
    for axis, run in zip(axes, runs, strict=True):
        for shots, line in _lines(run).items():
            x, y, below, above = zip(*line, strict=True)
            label = f"{shots} shots" if shots else "all images"
            axis.errorbar(x, y, yerr=(below, above), marker="o", ms=4, capsize=3, label=label)
        axis.set(xlabel=OPTION, title=f"{run.name}: {counted(_masks(run), 'test mask')}")
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=8)
    axes[0].set_ylabel("Dice, % (lines: 95 % interval)")
    return made


def _masks(run: RunFolder) -> int:
    """Number of masks that each point is the mean of.

    Raises:
        InputError: they are too few.
    """
    count = int(_rows(run)[0]["masks"])
    if count < MIN_OBJECTS:
        raise InputError(f"The run in {run.folder} is evaluated on {counted(count, 'mask')}: {TOO_FEW}.")
    return count


def _rows(run: RunFolder) -> list[dict[str, Any]]:
    return run.content.get("measured", run.content.get("rows", []))


def _lines(run: RunFolder) -> dict[int | None, list[tuple[float, float, float, float]]]:
    """Points by number of shots: alpha, Dice (mean over seeds), and how far its interval reaches below and above.

    The interval is over seeds; with one seed over groups of images. Dice in percent.
    """
    values = {title: one["options"].get(OPTION) for title, one in run.content.get("settings", {}).items()}
    lines: dict[int | None, list[tuple[float, float, float, float]]] = {}
    for row in _rows(run):
        value = values.get(row["title"])
        if value is not None:
            dice = row["dice"]
            low, high = row["dice_interval"] or row["dice_masks_interval"] or (dice, dice)
            ends = 100 * max(0.0, dice - low), 100 * max(0.0, high - dice)
            lines.setdefault(row["shots"], []).append((float(value), 100 * dice, *ends))
    if all(len(line) < 2 for line in lines.values()):
        raise InputError(f"{run.folder} has no rows with several values of {OPTION}. Run the recipe am-sam-figure6.")
    return {shots: sorted(line) for shots, line in lines.items()}


__all__ = ["build"]
