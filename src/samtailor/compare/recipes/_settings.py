"""Which settings a recipe runs with: those of the paper, the defaults, or both; and where the two differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from samtailor.compare.recipes._read import Recipe
from samtailor.errors import InputError
from samtailor.registry import names
from samtailor.train.config import FitConfig
from samtailor.train.presets import Departure, departures, flat, value_text

DEFAULTS, BOTH = "defaults", "both"
HEAD = ["setting", "methods", "paper", "default", "here"]
"""Columns of `differences`."""


def variants_of(recipe: Recipe, wanted: str | None) -> list[str | None]:
    """The presets to run with, in order; None stands for the defaults of each method.

    Args:
        recipe: the table.
        wanted: name of a preset, "defaults", "both"; None: the preset of the recipe, if it has one.
    """
    if wanted is None or wanted == recipe.preset:
        return [recipe.preset]
    if wanted == DEFAULTS:
        return [None]
    if wanted == BOTH:
        if recipe.preset is None:
            raise InputError("This recipe has no preset, so both settings are the same. Leave --preset out.")
        return [recipe.preset, None]
    known = ", ".join(filter(None, (recipe.preset, DEFAULTS, BOTH)))
    raise InputError(f"The recipe does not run with the preset {wanted!r}. Known: {known}.")


def differences(recipe: Recipe, runs: Mapping[str, FitConfig]) -> list[list[str]]:
    """Rows of `HEAD`: each setting in which the preset of the recipe and the defaults differ, and what is run.

    Methods with the same values share a row.

    Args:
        recipe: a table with a preset.
        runs: settings of the rows.
    """
    if recipe.preset is None:
        return []
    here: dict[str, dict[str, Any]] = {}
    for config in runs.values():
        if _differs(config.method):
            here.setdefault(config.method, flat(config))
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for method, values in here.items():
        for one in departures(recipe.preset, method):
            texts = (value_text(one.paper), value_text(one.default), value_text(values.get(one.setting)))
            rows.setdefault((one.setting, *texts), []).append(method)
    return [[setting, ", ".join(methods), *texts] for (setting, *texts), methods in rows.items()]


def differing(recipe: Recipe) -> set[str]:
    """Titles of the rows whose fits differ between the preset and the defaults."""
    return {
        title
        for title, run in recipe.runs.items()
        if recipe.preset is not None and _differs(run.method) and _of_fit(departures(recipe.preset, run.method))
    }


def _differs(method: str) -> bool:
    return method in names("methods")


def _of_fit(listed: list[Departure]) -> list[Departure]:
    """Without the settings that the recipe itself decides, and that do not concern a method without a fit."""
    return [one for one in listed if one.method != "sam" and one.setting not in ("base", "per_class")]


__all__ = ["BOTH", "DEFAULTS", "HEAD", "differences", "differing", "variants_of"]
