"""The table of a recipe: published and measured rows, with the settings of the paper, the defaults, or both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samtailor.compare.recipes import Recipe
    from samtailor.train.config import FitConfig

FIGURES = {"miou": "mIoU, %", "dice": "Dice, %"}
INTERVAL = "95 %: bootstrap over groups of images, of all seeds together."


def settings_line(preset: str | None) -> str:
    """Which settings run, in one line."""
    from samtailor.registry import find
    from samtailor.train.presets import describe

    if preset is None:
        return "Settings: the defaults of each method."
    return f"Settings: preset {preset}, {describe(find('presets', preset))}."


def joined(tables: Mapping[str | None, list[dict[str, Any]]], differing: Collection[str]) -> list[dict[str, Any]]:
    """Rows of one table. With two sets of settings a row whose settings differ is shown twice, with their names.

    Args:
        tables: preset, or None for the defaults, to rows as `recipes.beside` returns them.
        differing: titles of the rows whose settings differ.
    """
    first, *others = tables.items()
    rows = []
    for place, row in enumerate(first[1]):
        twice = bool(others) and row["title"].removesuffix(" (oracle)") in differing
        rows.append(row | {"settings": first[0] if twice or not others else "both"})
        rows += [table[place] | {"settings": name or "defaults"} for name, table in others if twice]
    return rows


def lines_of(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The lines of the table as text, with their kind: "measured", "interval", "published" and last "count".

    Args:
        rows: as `recipes.beside` returns them, with `settings`.
    """
    lines = []
    several = len({row["settings"] for row in rows}) > 1
    for place, row in enumerate(rows):
        title = f"{row['title']}, {row['settings']}" if several and row["settings"] != "both" else row["title"]
        lines.append(("measured", [title, *map(_value, row["ours"], row["masks"])]))
        if any(row["intervals"]):
            lines.append(("interval", [f"{title}, 95 %", *map(_bounds, row["intervals"])]))
        last = place + 1 == len(rows) or rows[place + 1]["title"] != row["title"]
        if last and any(cell is not None for cell in row["published"]):
            lines.append(("published", [f"{row['title']}, published", *map(_text, row["published"])]))
    if rows and any(count is not None for count in rows[0]["masks"]):
        lines.append(("count", ["number of masks", *("-" if n is None else str(n) for n in rows[0]["masks"])]))
    return lines


def _value(value: float | None, count: int | None) -> str:
    from samtailor.evaluation.scores import TOO_FEW

    return TOO_FEW if value is None and count else _text(value)


def _text(cell: Any) -> str:
    from samtailor.compare.recipes import text

    return text(cell)


def _bounds(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f"[{bounds[0]:.1f}, {bounds[1]:.1f}]"


def show(recipe: Recipe, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table."""
    from samtailor.cli.screen import table
    from samtailor.compare.recipes import head

    title = f"{recipe.title} ({recipe.source})"
    lines = [line for _, line in lines_of(rows)]
    table(title, [FIGURES[recipe.figure], *head(recipe)], lines, "\n".join([INTERVAL, *recipe.notes]))


def differing_settings(recipe: Recipe, settings: Mapping[str | None, Mapping[str, FitConfig]]) -> None:
    """Print where the preset and the defaults differ, and what was run."""
    from samtailor.cli.screen import table

    for part in differing_section(recipe, settings):
        cells = [[cell["text"] for cell in row["cells"]] for row in part["rows"]]
        table(part["title"], part["head"], cells, part["note"])


def differing_section(recipe: Recipe, settings: Mapping[str | None, Mapping[str, FitConfig]]) -> list[dict[str, Any]]:
    """The same as a section of the report; none for a recipe without a preset."""
    from samtailor.compare.recipes import HEAD, differences

    rows = differences(recipe, next(iter(settings.values())))
    if not rows:
        return []
    head = HEAD[:-1] if len(settings) > 1 else HEAD  # with both there is no third value
    return [
        {
            "kind": "table",
            "title": f"Settings in which {recipe.preset} and the defaults differ",
            "head": head,
            "rows": [{"cells": [{"text": cell} for cell in row[: len(head)]]} for row in rows],
            "note": "Reasons: docs/methods/presets.md.",
        }
    ]


def section(recipe: Recipe, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The table as a section of the report."""
    from samtailor.compare.recipes import head

    lines = lines_of([{"settings": "both", **row} for row in rows])
    return {
        "kind": "table",
        "title": recipe.title,
        "text": recipe.source,
        "head": [FIGURES[recipe.figure], *head(recipe)],
        "rows": [{"cells": [{"text": cell} for cell in line], "strong": kind == "measured"} for kind, line in lines],
        "note": " ".join([INTERVAL, *recipe.notes]),
    }


def write_joined(file: Path, recipe: Recipe, name: str, rows: Sequence[Mapping[str, Any]], data: str) -> None:
    """Write the rows of both settings; the files of each are in its own folder."""
    from samtailor.compare.recipes import head
    from samtailor.data.writing import write_json

    about = {"recipe": name, "source": recipe.source, "columns": head(recipe), "notes": list(recipe.notes)}
    write_json(file, {**about, "data": data, "rows": list(rows)})


__all__ = ["differing_section", "differing_settings", "joined", "lines_of", "section", "settings_line", "show",
           "write_joined"]  # fmt: skip
