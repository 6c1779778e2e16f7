"""Several classes: one adapter for all of them, or one for each."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from samtailor.fitting.contest import budget as budgets
from samtailor.train.config import FitConfig

LEAST_SECONDS = 25.0
"""Of the budget, that each class needs for a contest of its own."""
_log = logging.getLogger("samtailor.fitting")


def per_class(config: FitConfig, classes: Sequence[str]) -> FitConfig:
    """The settings of one contest per class where the budget allows, since only an adapter of one class has a region
    map and works without prompts; otherwise of one contest about clicks and boxes of all classes.

    Args:
        config: of the contest.
        classes: at least two.
    """
    seconds = budgets.seconds(config.budget or budgets.DEFAULT) / len(classes)
    if config.per_class or seconds >= LEAST_SECONDS:
        return config.model_copy(update={"per_class": True, "budget": f"{seconds:g}s"})
    _log.warning(
        "The budget is too short for %d classes one by one: the adapter works with clicks and boxes only. Automatic "
        "mode needs --budget %ds or fewer classes.",
        len(classes), round(LEAST_SECONDS * len(classes)),
    )  # fmt: skip
    return config


__all__ = ["LEAST_SECONDS", "per_class"]
