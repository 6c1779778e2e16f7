"""`am-sam-5`: Dice after each epoch (Li et al., arXiv 2410.09714, Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from samtailor import artefact
from samtailor.compare.run_folder import RunFolder
from samtailor.errors import InputError

WHERE = {"paper": "D2, the half of the shots that the upper level learns from", "held-out": "held-out images"}


def build(runs: Sequence[RunFolder], *, objects: int, seed: int) -> Any:
    """The figure: one line for each row with validations, one panel for each run."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(5.4 * len(runs) + 0.4, 3.6), layout="constrained")
    axes = made.subplots(1, len(runs), squeeze=False)[0]
    for axis, run in zip(axes, runs, strict=True):
        measured, counted_in, masks = set(), set(), set()
        for row in run.rows:
            for folder, (label, history) in zip(row.folders, run.history(row), strict=True):
                points = _points(run.epochs(folder), history)
                if not points:
                    continue
                counted_in.add("step" if run.epochs(folder) is None else "epoch")
                meta = artefact.read_meta(folder) if (folder / artefact.METADATA).is_file() else None
                measured.add("held-out" if meta is None else meta.figures.get("selection", "held-out"))
                if meta is not None and (count := meta.figures.get("held_out_masks")):
                    masks.add(int(count))
                name = row.title if len(row.folders) == 1 else f"{row.title}, {label}"
                axis.plot(*zip(*points, strict=True), label=name, linewidth=1.5, marker="o", ms=2.5)
        if not measured:
            raise InputError(
                f"The fits in {run.folder} have no validations to plot. Fit with --preset am-sam-2024, or with --set "
                "eval_epochs=1 and images that select the state."
            )
        shots = "" if run.of_shots is None else f", {run.of_shots} shots"
        where = " and ".join(WHERE.get(name, name) for name in sorted(measured))
        axis.set(xlabel=" or ".join(sorted(counted_in)), ylabel="Dice, %", ylim=(0, 100))
        n = f" (n = {' or '.join(map(str, sorted(masks)))} masks)" if masks else ""
        axis.set_title(f"{run.name}{shots}\nmeasured on {where}{n}", fontsize=9)
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=8)
    return made


def _points(epochs: float | None, history: dict[str, Any]) -> list[tuple[float, float]]:
    """(epoch, Dice in percent); without epochs in the settings, (step, Dice)."""
    records = [record for record in history.get("held_out", ()) if record.get("dice") is not None]
    last = history["train"][-1]["step"] if history.get("train") else 0
    scale = epochs / last if epochs and last else 1.0
    return [(record["step"] * scale, 100 * record["dice"]) for record in records]


__all__ = ["build"]
