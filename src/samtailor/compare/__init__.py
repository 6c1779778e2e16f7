"""Several methods on the same images, shots, splits and seeds; an adapter on another class; what a method costs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samtailor.compare.comparison import Comparison
    from samtailor.compare.cross_class import cross_model, parameters
    from samtailor.compare.extrapolation import learning_curve
    from samtailor.compare.folds import Deal, deal, few
    from samtailor.compare.rows import learning, rows_of
    from samtailor.compare.run import TITLES, Watch, compare, compare_shots, variants
    from samtailor.evaluation.masks import REFINED

_HOMES = {
    "compare.comparison": ("Comparison",),
    "compare.cross_class": ("cross_model", "parameters"),
    "compare.folds": ("Deal", "deal", "few"),
    "compare.learning_curve": ("learning_curve",),
    "compare.rows": ("learning", "rows_of"),
    "compare.run": ("TITLES", "Watch", "compare", "compare_shots", "variants"),
    "evaluation.masks": ("REFINED",),
}


def __getattr__(name: str) -> Any:  # recipes and baselines are read without all that a comparison imports
    for home, own in _HOMES.items():
        if name in own:
            return getattr(import_module(f"samtailor.{home}"), name)
    raise AttributeError(f"module 'samtailor.compare' has no attribute {name!r}")


__all__ = [
    "REFINED",
    "TITLES",
    "Comparison",
    "Deal",
    "Watch",
    "compare",
    "compare_shots",
    "cross_model",
    "deal",
    "few",
    "learning",
    "learning_curve",
    "parameters",
    "rows_of",
    "variants",
]
