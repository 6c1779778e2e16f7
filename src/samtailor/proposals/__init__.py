"""Trained proposals: they find objects of the user's classes from the cached image embedding.

A detector of COCO's classes cannot detect lesions, plates or banners. This small head is trained in seconds on the
user's masks. It predicts a heat map per class over a grid of at most 64 cells per side, and in each cell the distances
to the four sides of the object's box (after CenterNet, arXiv 1904.07850, and FCOS, arXiv 1904.01355). One difference:
the peak is at a point inside the object, so that it can be used as a click. The center of the box may lie outside.

The heads of the cross-fitting are kept and averaged with the head of all images. Scores are calibrated (Platt scaling)
by cross-fitting, on images that the scored head was not trained on. A threshold that is selected on the same scores
also rejects images without the object. `fitting.proposals` trains proposals; `disk.py` saves and loads them.
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
from samtailor.registry import BUNDLED_BASE, choose
from samtailor.structures import Features

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.bases.companions import Companion

GIVES = ("points", "boxes")
"""Prompts that proposals are trained for."""


@dataclass(frozen=True)
class Proposed:
    """Proposals for one image, by decreasing score.

    Args:
        boxes: float32 (N, 4), x0 y0 x1 y1, edges in pixels of the image.
        points: float32 (N, 2), x y in pixels of the image, predicted to lie on the object.
        scores: float32 (N,), calibrated probability that the proposal is correct.
        labels: N class names.
    """

    boxes: np.ndarray
    points: np.ndarray
    scores: np.ndarray
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


class Proposals:
    """A trained head with its classes and its calibration; the head is put into evaluation mode.

    Args:
        head: see `Head` and `Heads`.
        classes: names, in the order of the heat maps.
        base: fingerprint of the base whose embeddings it was trained on.
        base_name: source of that base, see `bases.load_base`.
        calibration: class to (slope, offset): score = sigmoid(slope * logit(heat) + offset).
        thresholds: class to the lowest score of a proposal.
        give: "points" or "boxes": the prompts for the adapter.
        tiles: tiles per side at inference, see `predict.instances`; 1: the whole image.
        figures: measured quality, see `calibration.measure`.
        companion: frozen network whose features the head reads beside the embedding.
    """

    def __init__(
        self,
        head: Head | Heads,
        classes: Sequence[str],
        base: str,
        *,
        base_name: str = BUNDLED_BASE,
        calibration: Mapping[str, tuple[float, float]] | None = None,
        thresholds: Mapping[str, float] | None = None,
        give: str = "points",
        tiles: int = 1,
        figures: Mapping[str, object] | None = None,
        companion: Companion | None = None,
    ) -> None:
        self.head = head.eval()
        self.classes, self.base, self.give = tuple(classes), base, choose("give", give, GIVES)
        self.base_name, self.tiles = base_name, tiles
        self.calibration = {name: (1.0, 0.0) for name in classes} | dict(calibration or {})
        self.thresholds = {name: 0.3 for name in classes} | dict(thresholds or {})
        self.figures = dict(figures or {})
        self.companion = companion

    @property
    def companions(self) -> tuple[Companion, ...]:
        """The companions that features must be made with: one or none."""
        return () if self.companion is None else (self.companion,)

    def propose(
        self, features: Features, frame: Frame, *, threshold: float | None = None, classes: Sequence[str] | None = None
    ) -> Proposed:
        """Proposals for an image, possibly none.

        Args:
            features: embedding of the image, one row, of the base it was trained on, made with `companions`.
            frame: geometry of the image.
            threshold: lowest score, for all classes; None takes the threshold of each class.
            classes: only these classes; None takes all.

        Raises:
            InputError: features of several images, or a class it was not trained on.
        """
        if len(features) != 1:
            raise InputError(f"Proposals are made for one image, got features of {len(features)}.")
        wanted = self.classes if classes is None else tuple(classes)
        if unknown := [name for name in wanted if name not in self.classes]:
            raise InputError(f"The proposals have no class {unknown[0]!r}. Their classes: {', '.join(self.classes)}.")
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
        """All candidates of an image, with their heat as score, before calibration and threshold."""
        device = next(self.head.parameters()).device
        heat, sides = self.head(features.to(device, torch.float32))
        boxes, points, scores, index = decode(heat[0].cpu(), sides[0].cpu(), frame)
        return Proposed(boxes, points, scores, tuple(self.classes[i] for i in index))

    def _calibrated(self, label: str, heat: float) -> float:
        slope, offset = self.calibration[label]
        return platt(float(heat), slope, offset)

    def save(self, folder: str | Path) -> None:
        """Save in an adapter's folder, see `disk.save`."""
        from samtailor.proposals import disk

        disk.save(folder, self)

    @staticmethod
    def load(folder: str | Path, base: Base) -> Proposals:
        """Load from an adapter's folder, see `disk.load`."""
        from samtailor.proposals import disk

        return disk.load(folder, base)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(p.numel() for p in self.head.parameters())


def platt(heat: float, slope: float, offset: float) -> float:
    """sigmoid(slope * logit(heat) + offset)."""
    heat = min(max(heat, 1e-6), 1 - 1e-6)
    value = slope * math.log(heat / (1 - heat)) + offset
    return 1 / (1 + math.exp(-min(max(value, -50.0), 50.0)))


__all__ = ["GIVES", "Proposals", "Proposed", "platt"]
