"""The region map of `tailor` and a linear discriminant, averaged, for images without a prompt."""

from __future__ import annotations

from typing import Any

from samtailor.adapters.pyramid import DEPTHWISE
from samtailor.bases.companions import AUTO
from samtailor.fitting.contest.candidates import Candidate
from samtailor.fitting.contest.fingerprint import DataFingerprint
from samtailor.train.config import FitConfig

OPTIONS: dict[str, Any] = {
    "convolutions": DEPTHWISE,
    "member_batch": 2,
    "companion": AUTO,
    "linear": True,
    "select_inference": False,
    "task": "region",
}
SETTINGS: dict[str, Any] = {"options": OPTIONS, "batch_size": 4, "lr": 2e-3, "weight_decay": 0.1, "max_grad_norm": 0.0}


def candidate(config: FitConfig, data: DataFingerprint) -> Candidate | None:
    """For one class; a map has one output."""
    if len(data.classes) > 1:
        return None
    return Candidate(
        "tailor", "region map", ("region",), rank=2, method="tailor", steps=300, settings=SETTINGS,
        fold_options={"members": 2},
    )  # fmt: skip
