"""Recipes: one YAML file per table of a paper (data, methods, settings, published figures), or settings of a fit."""

from samtailor.compare.recipes._read import (
    NOT_LEGIBLE,
    Recipe,
    Run,
    config_of,
    fit_settings,
    narrowed,
    read,
    recipe_names,
)
from samtailor.compare.recipes._settings import BOTH, DEFAULTS, HEAD, differences, differing, variants_of
from samtailor.compare.recipes._table import beside, head, text

__all__ = [
    "BOTH",
    "DEFAULTS",
    "HEAD",
    "NOT_LEGIBLE",
    "Recipe",
    "Run",
    "beside",
    "config_of",
    "differences",
    "differing",
    "fit_settings",
    "head",
    "narrowed",
    "read",
    "recipe_names",
    "text",
    "variants_of",
]
