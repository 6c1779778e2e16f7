"""The base model itself, for clicks and boxes: what every other candidate must beat."""

from __future__ import annotations

from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.fingerprint import DataFingerprint
from samtailor.train.config import FitConfig


def candidate(config: FitConfig, data: DataFingerprint) -> Candidate:
    """Always takes part."""
    return Candidate("base", "base model", ("click", "box"), rank=0)
