"""The region map of `tailor`, trained on smaller crops, for small objects: crops and tiles show them at one scale."""

from __future__ import annotations

from samtailor.fitting.contest.candidates import Candidate, tailor
from samtailor.fitting.contest.fingerprint import DataFingerprint
from samtailor.train.config import FitConfig

CROP = 0.45


def candidate(config: FitConfig, data: DataFingerprint) -> Candidate | None:
    """For one class of small objects."""
    if len(data.classes) > 1 or not data.small:
        return None
    return Candidate(
        "zoom", "region map trained on smaller crops", ("region",), rank=3, method="tailor", steps=300,
        settings={**tailor.SETTINGS, "crop": CROP}, fold_options={"members": 2},
    )  # fmt: skip
