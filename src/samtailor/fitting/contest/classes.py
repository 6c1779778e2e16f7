"""Several classes: one adapter for all of them, or one for each."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from samtailor.errors import InputError
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
    total = budgets.total_seconds(config.budget, len(classes))
    seconds = total / len(classes)
    if config.budget is None and total > budgets.DEFAULT_SECONDS:
        _log.warning(
            "%d classes, a minute for each. Choose another time for all of them with --budget, or fewer classes with "
            "--classes.",
            len(classes),
        )  # fmt: skip
    if config.per_class or seconds >= LEAST_SECONDS:
        return config.model_copy(update={"per_class": True, "budget": f"{seconds:g}s"})
    _log.warning(
        "The budget is too short for %d classes one by one: the adapter works with clicks and boxes only. Automatic "
        "mode needs --budget %ds or fewer classes.",
        len(classes), round(LEAST_SECONDS * len(classes)),
    )  # fmt: skip
    return config


def annotator_budget(budget: str | None, classes: Sequence[str]) -> str:
    """The budget of a fit while somebody annotates: the given one, else the default, which grows with the classes.

    Raises:
        InputError: the given one is too short for a contest of each class.
    """
    count = max(1, len(classes))
    if budget is None:
        return f"{budgets.total_seconds(None, count):g}s"
    given = budgets.seconds(budget)
    if count > 1 and given < LEAST_SECONDS * count:
        raise InputError(
            f"A fit of {count} classes needs a budget of {LEAST_SECONDS * count:g}s or more, got {budget}. Give it "
            "more time, or choose fewer classes."
        )
    return budget


__all__ = ["LEAST_SECONDS", "annotator_budget", "per_class"]
