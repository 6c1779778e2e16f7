"""Compare methods on the same images, shots, splits and seeds; evaluate adapters on other classes; measure costs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samtailor.compare.comparison import Comparison
    from samtailor.compare.cross_class import cross_model, parameters
    from samtailor.compare.entries import title_of
    from samtailor.compare.extrapolation import learning_curve
    from samtailor.compare.rows import learning, rows_of
    from samtailor.compare.run import Watch, compare, compare_shots, variants
    from samtailor.compare.seed_split import SeedSplit, limit_shots, split_for_seed
    from samtailor.evaluation.masks import REFINED

_HOMES = {
    "compare.comparison": ("Comparison",),
    "compare.cross_class": ("cross_model", "parameters"),
    "compare.entries": ("title_of",),
    "compare.extrapolation": ("learning_curve",),
    "compare.rows": ("learning", "rows_of"),
    "compare.run": ("Watch", "compare", "compare_shots", "variants"),
    "compare.seed_split": ("SeedSplit", "limit_shots", "split_for_seed"),
    "evaluation.masks": ("REFINED",),
}


def __getattr__(name: str) -> Any:  # recipes and baselines are imported without the imports of a comparison
    for home, exported in _HOMES.items():
        if name in exported:
            return getattr(import_module(f"samtailor.{home}"), name)
    raise AttributeError(f"module 'samtailor.compare' has no attribute {name!r}")


__all__ = [
    "REFINED",
    "Comparison",
    "SeedSplit",
    "Watch",
    "compare",
    "compare_shots",
    "cross_model",
    "learning",
    "learning_curve",
    "limit_shots",
    "parameters",
    "rows_of",
    "split_for_seed",
    "title_of",
    "variants",
]
