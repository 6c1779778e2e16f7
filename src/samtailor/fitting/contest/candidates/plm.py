"""A prompt learning module (Kim et al., arXiv 2403.09199), for clicks and boxes."""

from __future__ import annotations

from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.fingerprint import DataFingerprint
from samtailor.train.config import FitConfig


def candidate(config: FitConfig, data: DataFingerprint) -> Candidate:
    """Always takes part. A module that is trained longer than the budget allows is trained for fewer steps."""
    settings = {"batch_size": 8, "lr": 1e-3, "weight_decay": 0.01, "max_grad_norm": 1.0}
    return Candidate(
        "plm", "prompt learning module", ("click", "box"), rank=1, method="plm", steps=1000, settings=settings
    )
