"""Detections of an image, and the interface of a detector."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from samtailor.errors import InputError

FLOOR = 0.05
"""Detections below this score are dropped. Higher thresholds are applied to the rest without detecting again."""


@dataclass(frozen=True)
class Detections:
    """Detections of one image, by falling score.

    Args:
        boxes: float32 (N, 4), x0 y0 x1 y1, edges in image pixels (a box of one pixel is 1 wide).
        scores: float32 (N,) in [0, 1].
        labels: N class names of the detector.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.boxes.shape != (len(self.labels), 4) or self.scores.shape != (len(self.labels),):
            raise InputError(
                f"Detections need boxes (N, 4), scores (N,) and N labels, got {self.boxes.shape}, "
                f"{self.scores.shape} and {len(self.labels)}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def pick(self, rows: Sequence[int] | np.ndarray) -> Detections:
        """Detections of the given rows, in that order."""
        rows = np.asarray(rows, np.intp)
        return Detections(self.boxes[rows], self.scores[rows], tuple(self.labels[i] for i in rows))

    def kept(self, threshold: float, classes: Collection[str] | None = None) -> Detections:
        """Detections with at least the score `threshold`, of the given classes (None: any)."""
        rows = [
            i for i, label in enumerate(self.labels)
            if self.scores[i] >= threshold and (classes is None or label in classes)
        ]  # fmt: skip
        return self.pick(rows)


class Detector(Protocol):
    """A frozen detector.

    Attributes:
        fingerprint: digest of everything its output depends on: weights and settings.
        names: class names it can return; empty if unknown in advance.
    """

    fingerprint: str
    names: tuple[str, ...]

    def detect(self, image: np.ndarray) -> Detections:
        """Detections of a uint8 RGB image (height, width, 3), with scores of at least `FLOOR`."""


__all__ = ["FLOOR", "Detections", "Detector"]
