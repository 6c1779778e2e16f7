"""`full-frame`: one box around the whole image. What is left when nothing detects, and the ablation without a box."""

from __future__ import annotations

from typing import Any

import numpy as np

from samtailor.proposals.detectors import Detections, ordered
from samtailor.registry import refuse_unknown


def build(**unknown: Any) -> FullFrame:
    """The detector; it has no options."""
    refuse_unknown(build, unknown)
    return FullFrame()


class FullFrame:
    """Answers every image with its frame, label "image", score 1."""

    fingerprint, names = "full-frame", ("image",)

    def detect(self, image: np.ndarray) -> Detections:
        """As `Detector` has it."""
        height, width = image.shape[:2]
        return ordered(np.array([[0, 0, width, height]]), np.ones(1), ["image"], (height, width))


__all__ = ["FullFrame", "build"]
