"""Published figures next to measured ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from samtailor.compare.recipes._read import Cell, Recipe
from samtailor.errors import InputError
from samtailor.evaluation.scores import MIN_OBJECTS


def beside(recipe: Recipe, summary: Mapping[str, Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """Rows of the table with measured and published figures.

    Args:
        recipe: the table.
        summary: of `Comparison.summary`, by the titles of the runs; for a recipe over numbers of shots by title and
            number of shots.

    Returns:
        per row `title`, and one value per column, with several columns an average last, or one per number of shots:
        `ours` and `published` in percent, None if there is none (`published` "not legible" as in the recipe),
        `intervals` ([low, high] of 95 %, in percent, or None) and `masks`, their number. A figure of fewer than
        `MIN_OBJECTS` masks is None and not part of the average. Tables over numbers of shots have no oracle rows,
        because their methods predict a single mask.
    """
    if recipe.shots:
        return [_row_of_shots(recipe, title, summary[title], run.published) for title, run in recipe.runs.items()]
    rows = []
    for title, run in recipe.runs.items():
        rows.append(_row(recipe, title, summary[title], recipe.figure, run.published))
    for title, run in recipe.runs.items():
        rows.append(_row(recipe, f"{title} (oracle)", summary[title], f"oracle_{recipe.figure}", run.published_oracle))
    return rows


def head(recipe: Recipe) -> list[str]:
    """Column titles."""
    if recipe.shots:
        return [f"{count} shots" for count in recipe.shots]
    return [*recipe.columns, *(["average"] if len(recipe.columns) > 1 else [])]


def text(cell: Cell) -> str:
    """A figure as text."""
    return "-" if cell is None else cell if isinstance(cell, str) else f"{cell:.2f}"


def _row(recipe: Recipe, title: str, summary: Mapping[str, Any], figure: str, published: str | None) -> dict[str, Any]:
    by_class = summary["classes"]
    cells = [_cell(by_class.get(name, {}), figure) for name in recipe.columns]
    if len(recipe.columns) > 1:  # the average of the paper: unweighted over the columns that were measured
        measured = [value for value, *_ in cells if value is not None]
        complete = len(measured) == len(recipe.columns) == len(by_class)
        bounds = summary.get(f"macro_{figure}_interval") if complete else None
        counts = [count for *_, count in cells if count is not None]
        cells.append((sum(measured) / len(measured) if measured else None, bounds, sum(counts) if counts else None))
    return _beside(recipe, title, cells, published)


def _row_of_shots(recipe: Recipe, title: str, by_shots: Mapping[int, Any], published: str | None) -> dict[str, Any]:
    missing = [count for count in recipe.shots if count not in by_shots]
    if missing:
        raise InputError(f"{title!r} needs a summary for each number of shots {recipe.shots}; {missing[0]} has none.")
    column = recipe.columns[0]
    cells = [_cell(by_shots[count]["classes"].get(column, {}), recipe.figure) for count in recipe.shots]
    return _beside(recipe, title, cells, published)


_Cell = tuple[float | None, Sequence[float] | None, int | None]
"""Value, interval and number of masks."""


def _cell(figures: Mapping[str, Any], figure: str) -> _Cell:
    count = figures.get("masks")
    if count is not None and count < MIN_OBJECTS:
        return None, None, count
    return figures.get(figure), figures.get(f"{figure}_interval"), count


def _beside(recipe: Recipe, title: str, cells: Sequence[_Cell], published: str | None) -> dict[str, Any]:
    return {
        "title": title,
        "ours": [None if value is None else 100 * value for value, *_ in cells],
        "intervals": [None if bounds is None else [100 * bound for bound in bounds] for _, bounds, _ in cells],
        "masks": [count for *_, count in cells],
        "published": [None] * len(cells) if published is None else list(recipe.published[published]),
    }


__all__ = ["beside", "head", "text"]
