"""A linear discriminant of the frozen features alone, in closed form, for images without a prompt: the map of `find`.

It takes a second, so it is compared even where the budget leaves no time for networks. The maps of the other candidates
contain it, and are better on most data.
"""

from __future__ import annotations

from samtailor.fitting.contest.candidates import Candidate, tailor
from samtailor.fitting.contest.fingerprint import DataFingerprint
from samtailor.train.config import FitConfig


def candidate(config: FitConfig, data: DataFingerprint) -> Candidate | None:
    """For one class; a map has one output."""
    if len(data.classes) > 1:
        return None
    settings = {**tailor.SETTINGS, "options": {**tailor.OPTIONS, "members": 0}}
    return Candidate("linear", "linear discriminant", ("region",), rank=4, method="tailor", steps=1, settings=settings)
