"""A linear discriminant of the frozen features alone, in closed form, for images without a prompt: the map of `find`.

The maps of the other candidates contain it, and are better on most data. Its fit takes a second, but its scores take as
long as those of the others, so it takes part only where the budget is long enough.
"""

from __future__ import annotations

from typing import Any

from samtailor.fitting.contest.budget import total_seconds
from samtailor.fitting.contest.candidates import Candidate, tailor
from samtailor.fitting.contest.fingerprint import DataFingerprint
from samtailor.train.config import FitConfig

LEAST = 90
"""Seconds of the budget from which it takes part."""
SETTINGS: dict[str, Any] = {**tailor.SETTINGS, "options": {**tailor.OPTIONS, "members": 0}}


def candidate(config: FitConfig, data: DataFingerprint) -> Candidate | None:
    """For one class, since a map has one output, and a budget of `LEAST` seconds or more."""
    if len(data.classes) > 1 or total_seconds(config.budget) < LEAST:
        return None
    return Candidate("linear", "linear discriminant", ("region",), rank=4, method="tailor", steps=1, settings=SETTINGS)
