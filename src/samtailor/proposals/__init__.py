"""Learnt proposals: where objects of the user's own classes are, from the cached image embedding alone.

A detector of COCO's classes knows no lesion, no plate, no banner. This small head is trained in seconds from the same
masks: a heat map a class over a grid of at most 64 cells a side, and at each cell the distances to the four sides of
the object's box (after CenterNet, arXiv 1904.07850, and FCOS, arXiv 1904.01355; differences: the peak sits on a point
inside the object, so that it can serve as a click, and not on the middle of the box, which may lie outside).

The heads of the cross-fitting are kept and asked together with the one of all images.
Its scores are calibrated (Platt scaling) on images that the scored head never saw, by cross-fitting, and a threshold
that is chosen there as well refuses images without the object. `fit.py` trains,
`disk.py` saves and loads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.proposals.head import Head, Heads, decode
from samtailor.registry import choose
from samtailor.structures import Features

if TYPE_CHECKING:
    from samtailor.bases import Base

GIVES = ("points", "boxes")


@dataclass(frozen=True)
class Proposed:
    """Proposals for one image, by falling score.

    Args:
        boxes: float32 (N, 4), x0 y0 x1 y1, edges in pixels of the image.
        points: float32 (N, 2), x y in pixels of the image, meant to lie on the object.
        scores: float32 (N,), calibrated share of such proposals that are right.
        labels: N class names.
    """

    boxes: np.ndarray
    points: np.ndarray
    scores: np.ndarray
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


class Proposals:
    """A trained head with its classes and its calibration.

    Args:
        head: see `Head` and `Heads`; put into evaluation mode.
        classes: names, in the order of the heat maps.
        base: fingerprint of the base whose embeddings it reads.
        base_name: what to load that base by.
        calibration: class to (slope, offset): score = sigmoid(slope * logit(heat) + offset).
        thresholds: class to the lowest score that counts as found.
        give: "points" or "boxes": what the adapter beside it is to be asked with.
        tiles: tiles a side in which it looks, see `instances`; 1: the whole image.
        figures: what is known about its quality, see `fit.measure`.
    """

    def __init__(
        self,
        head: Head | Heads,
        classes: Sequence[str],
        base: str,
        *,
        base_name: str = "nano",
        calibration: Mapping[str, tuple[float, float]] | None = None,
        thresholds: Mapping[str, float] | None = None,
        give: str = "points",
        tiles: int = 1,
        figures: Mapping[str, object] | None = None,
    ) -> None:
        self.head = head.eval()
        self.classes, self.base, self.give = tuple(classes), base, choose("give", give, GIVES)
        self.base_name, self.tiles = base_name, tiles
        self.calibration = {name: (1.0, 0.0) for name in classes} | dict(calibration or {})
        self.thresholds = {name: 0.3 for name in classes} | dict(thresholds or {})
        self.figures = dict(figures or {})

    def propose(
        self, features: Features, frame: Frame, *, threshold: float | None = None, classes: Sequence[str] | None = None
    ) -> Proposed:
        """What is found in an image; nothing is a possible answer.

        Args:
            features: embedding of the image, one row, of the base it was trained on.
            frame: geometry of the image.
            threshold: lowest score, for all classes; None takes each class's own.
            classes: only these; None takes all.

        Raises:
            InputError: features of several images, or a class it was not trained on.
        """
        if len(features) != 1:
            raise InputError(f"Proposals are made for one image, got features of {len(features)}.")
        wanted = self.classes if classes is None else tuple(classes)
        if strange := [name for name in wanted if name not in self.classes]:
            raise InputError(f"The proposals know no class {strange[0]!r}; they know {', '.join(self.classes)}.")
        raw = self.raw(features, frame)
        rows = [i for i, label in enumerate(raw.labels) if label in wanted]
        scores = np.array([self._calibrated(raw.labels[i], raw.scores[i]) for i in rows], np.float32)
        least = np.array([self.thresholds[raw.labels[i]] if threshold is None else threshold for i in rows])
        chosen = np.array(rows, np.intp)[scores >= least]
        scores = scores[scores >= least]
        order = np.argsort(-scores, kind="stable")
        chosen = chosen[order]
        return Proposed(raw.boxes[chosen], raw.points[chosen], scores[order], tuple(raw.labels[i] for i in chosen))

    @torch.no_grad()
    def raw(self, features: Features, frame: Frame) -> Proposed:
        """All candidates of an image with their heat as score, before calibration and threshold."""
        device = next(self.head.parameters()).device
        heat, sides = self.head(features.to(device, torch.float32))
        boxes, points, scores, index = decode(heat[0].cpu(), sides[0].cpu(), frame)
        return Proposed(boxes, points, scores, tuple(self.classes[i] for i in index))

    def _calibrated(self, label: str, heat: float) -> float:
        slope, offset = self.calibration[label]
        return platt(float(heat), slope, offset)

    def save(self, folder: str | Path) -> None:
        """Write into an adapter's folder, see `disk.py`."""
        from samtailor.proposals import disk

        disk.save(folder, self)

    @staticmethod
    def load(folder: str | Path, base: Base) -> Proposals:
        """Read from an adapter's folder, see `disk.py`."""
        from samtailor.proposals import disk

        return disk.load(folder, base)

    @property
    def parameters(self) -> int:
        """Learnt numbers."""
        return sum(p.numel() for p in self.head.parameters())


def platt(heat: float, slope: float, offset: float) -> float:
    """sigmoid(slope * logit(heat) + offset)."""
    heat = min(max(heat, 1e-6), 1 - 1e-6)
    value = slope * math.log(heat / (1 - heat)) + offset
    return 1 / (1 + math.exp(-min(max(value, -50.0), 50.0)))


__all__ = ["GIVES", "Proposals", "Proposed", "platt"]
