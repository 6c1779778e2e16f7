"""Published figures beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from samtailor.recipes._read import Cell, Recipe


def beside(recipe: Recipe, summary: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table, ours and the paper's.

    Args:
        recipe: the table.
        summary: from `Comparison.summary`, by the titles of the recipe's runs.

    Returns:
        per row `title`, `ours` and `published`: one figure in percent a column and with several columns an average
        last; None where there is none, "not legible" as the recipe has it.
    """
    rows = []
    for title, run in recipe.runs.items():
        rows.append(_row(recipe, title, summary[title], "miou", run.published))
    for title, run in recipe.runs.items():
        rows.append(_row(recipe, f"{title} (oracle)", summary[title], "oracle_miou", run.published_oracle))
    return rows


def head(recipe: Recipe) -> list[str]:
    """Titles of the columns."""
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
    paper = [None] * len(ours) if published is None else list(recipe.published[published])
    return {"title": title, "ours": [None if v is None else 100 * v for v in ours], "published": paper}


__all__ = ["beside", "head", "text"]
