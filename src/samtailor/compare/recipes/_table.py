"""Published figures beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from samtailor.compare.recipes._read import Cell, Recipe
from samtailor.errors import InputError


def beside(recipe: Recipe, summary: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table, ours and the paper's.

    Args:
        recipe: the table.
        summary: from `Comparison.summary`, by the titles of the recipe's runs; of a recipe over numbers of shots by
            title and number of shots.

    Returns:
        per row `title`, `ours` and `published`: one figure in percent a column and with several columns an average
        last, or one a number of shots; None where there is none, "not legible" as the recipe has it. Over
        numbers of shots the oracle has no rows: those methods answer once.
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
    """Titles of the columns."""
    if recipe.shots:
        return [f"{count} shots" for count in recipe.shots]
    return [*recipe.columns, *(["average"] if len(recipe.columns) > 1 else [])]


def text(cell: Cell) -> str:
    """A figure as it is printed."""
    return "-" if cell is None else cell if isinstance(cell, str) else f"{cell:.2f}"


def _row(recipe: Recipe, title: str, found: Mapping[str, Any], figure: str, published: str | None) -> dict[str, Any]:
    by_class = found["classes"]
    ours = [by_class.get(name, {}).get(figure) for name in recipe.columns]
    if len(recipe.columns) > 1:  # the paper's average: unweighted over the columns, of those there are here
        there = [value for value in ours if value is not None]
        ours.append(sum(there) / len(there) if there else None)
    return _beside(recipe, title, ours, published)


def _row_of_shots(recipe: Recipe, title: str, found: Mapping[int, Any], published: str | None) -> dict[str, Any]:
    missing = [count for count in recipe.shots if count not in found]
    if missing:
        raise InputError(f"{title!r} needs a summary for every number of shots {recipe.shots}; {missing[0]} has none.")
    column = recipe.columns[0]
    ours = [found[count]["classes"].get(column, {}).get(recipe.figure) for count in recipe.shots]
    return _beside(recipe, title, ours, published)


def _beside(recipe: Recipe, title: str, ours: list[float | None], published: str | None) -> dict[str, Any]:
    paper = [None] * len(ours) if published is None else list(recipe.published[published])
    return {"title": title, "ours": [None if v is None else 100 * v for v in ours], "published": paper}


__all__ = ["beside", "head", "text"]
