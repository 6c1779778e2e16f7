"""`kim-table-1`: number of masks of each part of CelebAMask-HQ beside those of the paper (Kim et al., arXiv 2403.09199,
Table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from samtailor.compare.run_folder import RunFolder
from samtailor.data.sets import celebamask_hq
from samtailor.errors import InputError

FORMAT = "celebamask-hq"


def build(runs: Sequence[RunFolder], *, objects: int, seed: int) -> Any:
    """The table as a figure; needs the run of the recipe celebamask-hq, or of another one on that layout."""
    run = runs[0]
    opened = run.content["opened"]
    if opened["format"] != FORMAT:
        raise InputError(f"Table 1 counts the masks of CelebAMask-HQ; the run in {run.folder} has another data set.")
    seed = opened["options"].get("seed", 0)
    counts = {part: celebamask_hq.counts(run.place("train"), part, seed) for part in ("train", "val")}
    head = ["part", "train", "train, paper", "val", "val, paper"]
    rows = [
        [name, *(f"{n:,}" for part in counts for n in (counts[part][name], celebamask_hq.TABLE_1[part][name]))]
        for name in celebamask_hq.PARTS
    ]
    totals = [sum(values.values()) for part in counts for values in (counts[part], celebamask_hq.TABLE_1[part])]
    return _table(head, [*rows, ["all parts", *(f"{total:,}" for total in totals)]])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    made = Figure(figsize=(6.4, 0.27 * (len(rows) + 1)))
    axis = made.add_axes((0.02, 0.02, 0.96, 0.96))
    axis.set_axis_off()
    table = axis.table(
        cellText=rows, colLabels=head, cellLoc="right", colLoc="right", edges="horizontal", bbox=Bbox.unit()
    )
    for (_, column), cell in table.get_celld().items():
        if column == 0:
            cell.set_text_props(ha="left")
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    return made


__all__ = ["build"]
