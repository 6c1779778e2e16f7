"""Plots of results, as PNG files in docs/assets/.

A plot holds a digest of the figures it was drawn from. It is drawn again only where the figures changed, so that
another version of matplotlib does not change files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from figures.views import difference, spread_of
from results import ROOT, Cell, Figure, Result

ASSETS = ROOT / "docs" / "assets"
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#000000")
"""Distinguishable with any colour vision (Okabe and Ito)."""
KEY = "Results"
DRAWING = 1
"""Raise it to draw all plots again."""


def file_of(result: Result, assets: Path = ASSETS) -> Path:
    """Where the plot of a result is."""
    return assets / f"{result.name}.png"


def digest(result: Result) -> str:
    """Changes with every figure that the plot shows."""
    tables = {name: table.model_dump(mode="json") for name, table in result.tables.items()}
    return hashlib.sha256(json.dumps([DRAWING, tables], sort_keys=True).encode()).hexdigest()[:16]


def is_current(result: Result, assets: Path = ASSETS) -> bool:
    """Whether the file shows these figures."""
    file = file_of(result, assets)
    if not file.is_file():
        return False
    with Image.open(file) as image:
        return image.info.get(KEY) == digest(result)


def draw(result: Result, assets: Path = ASSETS) -> Path:
    """Write the plot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(8, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(canvas)
    PLOTS[result.name](result, canvas)
    file = file_of(result, assets)
    file.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(file, metadata={"Software": None, KEY: digest(result)})
    return file


def alternative(result: Result) -> str:
    """Text of the plot for those who do not see it."""
    return f"Plot: {result.title}"


def real_data(result: Result, canvas) -> None:
    """mIoU with 95 % intervals, methods beside each other for each data set."""
    sets = {name: table for name, table in result.tables.items() if "change" in {c.key for c in table.columns}}
    groups = [[row["miou"] for row in table.rows.values()] for table in sets.values()]
    methods = [str(row["method"]) for row in next(iter(sets.values())).rows.values()]
    axes = canvas.subplots()
    _grouped(axes, groups, [table.title for table in sets.values()], methods)
    axes.set_ylabel("mIoU, %, one click")


def few_shot(result: Result, canvas) -> None:
    """Dice of each method for each data set; dots are the seeds."""
    groups = [[row["dice"] for row in table.rows.values()] for table in result.tables.values()]
    methods = [str(row["method"]) for row in next(iter(result.tables.values())).rows.values()]
    axes = canvas.subplots()
    _grouped(axes, groups, [table.title for table in result.tables.values()], methods)
    axes.set_ylabel("Dice, %, eight masks")


def few_shot_every(result: Result, canvas) -> None:
    """Dice over the number of masks, one line per method, one panel per data set."""
    panels = canvas.subplots(1, len(result.tables), sharey=True)
    for axes, table in zip(panels, result.tables.values(), strict=True):
        lines: dict[str, list[tuple[int, float]]] = {}
        for row in table.rows.values():
            lines.setdefault(str(row["method"]), []).append((int(row["shots"]), _value(row["dice"])))
        for place, (method, points) in enumerate(lines.items()):
            style = {"color": COLORS[place % len(COLORS)], "linestyle": "-" if place < len(COLORS) else "--"}
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=method, **style)
        counts = sorted({count for points in lines.values() for count, _ in points})
        axes.set(title=table.title, xlabel="Masks", xscale="log", ylim=(0, 100))
        axes.set_xticks(counts, [str(count) for count in counts], minor=False)
        axes.set_xticks([], minor=True)
        axes.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("Dice, %")
    canvas.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)


def base_sources(result: Result, canvas) -> None:
    """Difference to all sources of each source left out, one panel per set; the band is the spread of all sources."""
    tables = {"click, best of three": result.tables["oracle"], "box": result.tables["box"]}
    first = result.tables["oracle"]
    sets = [column for column in first.columns if column.key not in ("sources", "share")]
    names = [key for key in first.rows if key != "all"]
    panels = canvas.subplots(1, len(sets), sharex=True, sharey=True)
    for axes, column in zip(panels, sets, strict=True):
        for place, (label, table) in enumerate(tables.items()):
            height = [row + 0.3 * (place - 0.5) for row in range(len(names))]
            everything = table.rows["all"][column.key]
            found = [difference(table.rows[name][column.key], everything) for name in names]
            axes.scatter([one.value for one in found], height, s=18, color=COLORS[place], label=label, zorder=3)
            for at, one in zip(height, found, strict=True):
                axes.scatter(one.seeds, [at] * len(one.seeds), s=5, color=COLORS[place], alpha=0.6, zorder=2)
        spread = max(spread_of(table.rows["all"][column.key]) or 0.0 for table in tables.values())
        axes.axvspan(-spread, spread, color="#dddddd", zorder=0)
        axes.axvline(0, color="#666666", linewidth=0.8, zorder=1)
        axes.set_title(column.label, fontsize=8)
        axes.tick_params(labelsize=7)
    panels[0].set_yticks(range(len(names)), [str(first.rows[name]["sources"]) for name in names], fontsize=8)
    panels[0].invert_yaxis()
    canvas.supxlabel(
        "Difference of mean IoU to all sources, points; gray: spread of the seeds of all sources", fontsize=8
    )
    canvas.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=8)


def _grouped(axes, groups: Sequence[Sequence[Cell]], labels: Sequence[str], methods: Sequence[str]) -> None:
    width = 0.8 / len(methods)
    for place, method in enumerate(methods):
        x = [group + width * (place - (len(methods) - 1) / 2) for group in range(len(groups))]
        y = [_value(cells[place]) for cells in groups]
        axes.bar(x, y, width * 0.92, color=COLORS[place % len(COLORS)], label=method)
        for left, height, found in zip(x, y, (cells[place] for cells in groups), strict=True):
            if isinstance(found, Figure) and found.low is not None and found.high is not None:
                axes.errorbar(left, height, [[height - found.low], [found.high - height]], color="black", capsize=2)
            elif isinstance(found, Figure) and found.seeds:
                axes.scatter([left] * len(found.seeds), found.seeds, s=6, color="black", zorder=3)
    axes.set_xticks(range(len(groups)), labels, fontsize=8)
    axes.set_ylim(0, 100)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(ncols=len(methods), loc="upper center", bbox_to_anchor=(0.5, 1.12), frameon=False, fontsize=8)


def _value(found: Cell) -> float:
    return float(found.value if isinstance(found, Figure) else found)


PLOTS: dict[str, Callable[..., None]] = {
    "real-data": real_data,
    "few-shot-8": few_shot,
    "few-shot-every": few_shot_every,
    "base-sources": base_sources,
}

__all__ = ["ASSETS", "PLOTS", "alternative", "draw", "file_of", "is_current"]
