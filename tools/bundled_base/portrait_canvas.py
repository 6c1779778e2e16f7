"""What portraits are painted on: shapes with soft edges, and the part that covers each pixel."""

from __future__ import annotations

import cv2
import numpy as np

from bundled_base.images import Rng

SIDE = 384
CLOTHES, NECK, EAR_LEFT, EAR_RIGHT, SKIN = range(1, 6)
INSIDE = ("brow left", "brow right", "eye left", "eye right", "nose", "mouth")
HAIR = SKIN + len(INSIDE) + 1


class Portrait:
    """An image that is painted back to front, with the ids of what covers each pixel."""

    def __init__(self, rng: Rng, ground: np.ndarray) -> None:
        self.rng, self.image = rng, ground.astype(np.float32)
        self.parts = np.zeros((SIDE, SIDE), np.uint16)

    def paint(self, part: int, mask: np.ndarray, color: np.ndarray, *, soft: float = 1.0, mark: bool = True) -> None:
        """Cover the mask (float 0..1 or bool) with a color (3,) or an image, with a soft edge in pixels."""
        cover = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), soft)[..., None]
        self.image += cover * (np.asarray(color, np.float32) - self.image)
        if mark:
            self.parts[mask > 0.5] = part

    def ellipse(self, center: np.ndarray, axes: np.ndarray, angle: float = 0.0) -> np.ndarray:
        """(SIDE, SIDE) bool."""
        mask = np.zeros((SIDE, SIDE), np.uint8)
        axes = tuple(round(16 * float(max(a, 1))) for a in axes)
        middle = tuple(round(16 * float(c)) for c in center)
        cv2.ellipse(mask, middle, axes, np.degrees(angle), 0, 360, 1, -1, cv2.LINE_8, 4)
        return mask > 0

    def polygon(self, points: np.ndarray) -> np.ndarray:
        """(SIDE, SIDE) bool, corners rounded by a smooth closed curve through the points."""
        mask = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillPoly(mask, [np.round(_smooth(np.asarray(points, float)) * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
        return mask > 0


def _smooth(points: np.ndarray, rounds: int = 3) -> np.ndarray:
    """Chaikin's corner cutting of a closed polygon."""
    for _ in range(rounds):
        after = np.roll(points, -1, 0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1).reshape(-1, 2)
    return points
