"""Turn scores into likeness, and find the score that separates objects from everything else, on the references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LOWEST, HIGHEST = 0.1, 0.6
"""Bounds of the calibrated threshold."""
_SHRINK = 2.0  # references that a cut of 0 counts for beside the measured one, from the second reference on
_SLOPES = (1.0, 8.0)


@dataclass(frozen=True)
class Likeness:
    """Scores to logits of the likeness: `slope (score - cut)`.

    Args:
        cut: score at which the likeness is 0.5.
        slope: of the logits.
    """

    cut: float
    slope: float

    @classmethod
    def fit(cls, scores: Sequence[Tensor], covered: Sequence[Tensor]) -> Likeness:
        """Calibrate on the references.

        The cut is where the mean Dice over the references is largest, drawn towards 0 for few references, and 0 for a
        single one. The slope is that of a logistic regression with this cut.

        Args:
            scores: (N,) of the cells of each reference, by a scorer that was fitted without these cells.
            covered: (N,) share of each cell that the objects cover.
        """
        cuts = torch.linspace(-1.0, 1.2, 45)
        curves = torch.stack(
            [_dice_curve(score, cover > 0.5, cuts) for score, cover in zip(scores, covered, strict=True)]
        )
        measured = float(cuts[int(curves.mean(dim=0).argmax())])
        more = len(scores) - 1
        cut = measured * more / (more + _SHRINK)
        margin = torch.cat(list(scores)) - cut
        sign = torch.where(torch.cat(list(covered)) > 0.5, 1.0, -1.0)
        return cls(cut, _slope(margin * sign, sign > 0))

    def __call__(self, scores: Tensor) -> Tensor:
        """Logits of scores."""
        return self.slope * (scores - self.cut)


def score_threshold(right: Sequence[float], wrong: Sequence[float], references: int) -> float:
    """Lowest score of an accepted object.

    The cut with the largest F2 (recall counts twice as much as precision), in the middle between its neighbors, or half
    of the lowest right score where nothing is wrong; times n / (n + 1) for n references, since other images resemble
    the references less than these resemble each other.

    Args:
        right: scores of answers that are objects of a reference.
        wrong: scores of the other answers.
        references: n.
    """
    cut = _best_cut(right, wrong) * references / (references + 1)
    return float(np.clip(cut, LOWEST, HIGHEST))


def _best_cut(right: Sequence[float], wrong: Sequence[float]) -> float:
    if not right:
        return max(wrong, default=LOWEST)
    if not wrong:
        return min(right) / 2
    good, bad = np.sort(right), np.sort(wrong)
    cuts = np.unique(np.concatenate([good, bad]))
    kept = [(int((good >= cut).sum()), int((bad >= cut).sum())) for cut in cuts]
    f2 = [5 * hit / (hit + false + 4 * len(good)) for hit, false in kept]
    best = int(np.argmax(f2))
    below = cuts[best - 1] if best else 0.0
    return float(cuts[best] + below) / 2


def _dice_curve(scores: Tensor, truth: Tensor, cuts: Tensor) -> Tensor:
    """Dice of `scores > cut` for each cut."""
    above = scores[None] > cuts[:, None].to(scores.device)
    return (2 * (above & truth).sum(dim=1) / (above.sum(dim=1) + truth.sum()).clamp(min=1)).cpu()


def _slope(margins: Tensor, objects: Tensor) -> float:
    """Slope of a logistic regression without intercept, object and background cells of equal weight in total."""
    weights = torch.where(objects, 0.5 / objects.sum().clamp(min=1), 0.5 / (~objects).sum().clamp(min=1))
    slopes = torch.linspace(*_SLOPES, 29, device=margins.device)
    losses = [float((weights * torch.nn.functional.softplus(-slope * margins)).sum()) for slope in slopes]
    return float(slopes[int(np.argmin(losses))])


__all__ = ["HIGHEST", "LOWEST", "Likeness", "score_threshold"]
