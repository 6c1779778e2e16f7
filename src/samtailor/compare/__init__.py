"""Several methods on the same pictures, shots, splits and seeds; an adapter on another class; what a method costs."""

from samtailor.compare.comparison import Comparison
from samtailor.compare.cross_model import cross_model, parameters
from samtailor.compare.deal import Deal, deal, few
from samtailor.compare.next_masks import next_masks
from samtailor.compare.rows import learning, rows_of
from samtailor.compare.run import TITLES, Watch, compare, compare_shots, variants
from samtailor.evaluate import REFINED

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
    "next_masks",
    "parameters",
    "rows_of",
    "variants",
]
