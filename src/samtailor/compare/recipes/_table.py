"""Published figures next to measured ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from samtailor.compare.recipes._read import Cell, Recipe
from samtailor.errors import InputError


def beside(recipe: Recipe, summary: Mapping[str, Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """Rows of the table with measured and published figures.

    Args:
        recipe: the table.
        summary: of `Comparison.summary`, by the titles of the runs; for a recipe over numbers of shots by title and
            number of shots.

    Returns:
        per row `title`, `ours` and `published`: figures in percent, one per column and with several columns an average
        last, or one per number of shots; None if there is none, "not legible" as in the recipe. Tables over numbers
        of shots have no oracle rows, because their methods predict a single mask.
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
    ours = [by_class.get(name, {}).get(figure) for name in recipe.columns]
    if len(recipe.columns) > 1:  # the average of the paper: unweighted over the columns that were measured
        measured = [value for value in ours if value is not None]
        ours.append(sum(measured) / len(measured) if measured else None)
    return _beside(recipe, title, ours, published)


def _row_of_shots(recipe: Recipe, title: str, by_shots: Mapping[int, Any], published: str | None) -> dict[str, Any]:
    missing = [count for count in recipe.shots if count not in by_shots]
    if missing:
        raise InputError(f"{title!r} needs a summary for each number of shots {recipe.shots}; {missing[0]} has none.")
    column = recipe.columns[0]
    ours = [by_shots[count]["classes"].get(column, {}).get(recipe.figure) for count in recipe.shots]
    return _beside(recipe, title, ours, published)


def _beside(recipe: Recipe, title: str, ours: list[float | None], published: str | None) -> dict[str, Any]:
    paper: list[Cell] = [None] * len(ours) if published is None else list(recipe.published[published])
    return {"title": title, "ours": [None if v is None else 100 * v for v in ours], "published": paper}


__all__ = ["beside", "head", "text"]
