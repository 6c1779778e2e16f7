"""`full-frame`: one box around the whole image, for an ablation without a detector."""

from __future__ import annotations

from typing import Any

import numpy as np

from samtailor.proposals.detectors import Detections, ordered
from samtailor.registry import refuse_unknown

SAFE = True
"""It has no weights."""


def build(**unknown: Any) -> FullFrame:
    """The detector; it has no options.

    Args:
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)
    return FullFrame()


class FullFrame:
    """Returns the frame of every image, with label "image" and score 1."""

    fingerprint, names = "full-frame", ("image",)

    def detect(self, image: np.ndarray) -> Detections:
        """See `Detector.detect`."""
        height, width = image.shape[:2]
        return ordered(np.array([[0, 0, width, height]]), np.ones(1), ["image"], (height, width))


__all__ = ["FullFrame", "build"]
