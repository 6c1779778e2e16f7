"""`kim-6`: the adapter of each class on the masks of every class (Kim et al., arXiv 2403.09199, Fig. 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from samtailor import artefact
from samtailor.compare.cross_class import cross_model
from samtailor.compare.run_folder import RunFolder
from samtailor.errors import InputError

ORDER = ("plm-pmm", "plm", "sam-f", "tailor")


def build(runs: Sequence[RunFolder], *, objects: int, seed: int) -> Any:
    """The figure, of the first of plm-pmm, plm, sam-f and tailor that the run fitted per class."""
    run = runs[0]
    rows = [row for method in ORDER for row in run.rows if row.method == method and len(row.folders) > 1]
    if not rows:
        raise InputError(f"{run.folder} has no row with one adapter for each of several classes. Run with --per-class.")
    adapters = [artefact.load(folder, run.base) for folder in rows[0].folders]
    classes = [adapter.meta.classes[0] for adapter in adapters]
    named = {f"{name} adapter": adapter.segmenter for name, adapter in zip(classes, adapters, strict=True)}
    table = cross_model(run.base, named, run.samples, classes, store=run.store)
    cells = np.array([[np.nan if v is None else 100 * v for v in line] for line in table["miou"]])
    counts = table["summaries"]["SAM"]["classes"]
    columns = [f"{name} ({counts[name]['masks'] if name in counts else 0})" for name in classes]
    return _heat_map(cells, table["rows"], columns, f"{rows[0].title}: mIoU, %")


def _heat_map(cells: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str) -> Any:
    from matplotlib.figure import Figure

    size = 0.62 * len(columns) + 2.4, 0.5 * len(rows) + 1.4
    made = Figure(figsize=(max(5.0, size[0]), max(2.8, size[1])), layout="constrained")
    axis = made.subplots()
    image = axis.imshow(cells, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    axis.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    axis.set_yticks(range(len(rows)), rows)
    for place, value in np.ndenumerate(cells):
        text = "-" if np.isnan(value) else f"{value:.0f}"
        axis.text(place[1], place[0], text, ha="center", va="center", color="white" if value < 60 else "black")
    axis.set(xlabel="class of the masks (number of masks)", title=title)
    made.colorbar(image, ax=axis, shrink=0.85)
    return made


__all__ = ["build"]
