"""How much each cell of an image resembles the references: a linear discriminant in closed form.

Ridge regression of the labels +1 (object) and -1 (background) on the descriptors, the objects and the background
weighted by fixed shares: w = (S + lambda s I)^-1 c, where S and c are the weighted covariance of the descriptors and
their covariance with the label, and s is the mean of the diagonal of S. With equal shares this is Fisher's linear
discriminant, regularized. It needs sums over the references only, so leaving one reference out costs one solution of
a linear system.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_OBJECT_SHARE = 0.35  # of many references; a single one gets equal shares, since its objects are all that is known
_RIDGE = 10.0  # of one reference; of n references it is divided by n
_DOUBTFUL = 0.2  # weight of background cells that an object touches


@dataclass(frozen=True)
class Sums:
    """Weighted sums over the object cells and the background cells of a reference, or of several.

    Args:
        number: (2,) total weight.
        first: (2, C) sum of the descriptors.
        second: (2, C, C) sum of their outer products.
    """

    number: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, cells: Tensor, weights: Tensor) -> Sums:
        """Sums over cells (N, C) with weights (2, N)."""
        number, first, second = [], [], []
        for one in weights:
            some, given = cells[one > 0], one[one > 0]
            number.append(given.sum())
            first.append(given @ some)
            second.append((some * given[:, None]).T @ some)
        return cls(torch.stack(number), torch.stack(first), torch.stack(second))

    def balanced(self) -> Sums:
        """Sums divided by the square roots of their weights, so that large objects do not dominate small ones."""
        scale = self.number.clamp(min=1e-6) ** -0.5
        return Sums(self.number * scale, self.first * scale[:, None], self.second * scale[:, None, None])

    @classmethod
    def total(cls, parts: Sequence[Sums]) -> Sums:
        """Their total."""
        return cls(
            torch.stack([one.number for one in parts]).sum(0),
            torch.stack([one.first for one in parts]).sum(0),
            torch.stack([one.second for one in parts]).sum(0),
        )


@dataclass(frozen=True)
class Scorer:
    """Linear scores: `cells @ weight + bias`; about +1 on objects and -1 on the background.

    Args:
        weight: (C,).
        bias: ().
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def fit(cls, sums: Sums, references: int) -> Scorer:
        """Solve the regression for a number of references."""
        objects = _OBJECT_SHARE + (0.5 - _OBJECT_SHARE) / references
        shares = sums.first.new_tensor([objects, 1 - objects]) / sums.number.clamp(min=1e-6)
        labels = sums.first.new_tensor([1.0, -1.0])
        mean, label = shares @ sums.first, 2 * objects - 1
        scatter = torch.einsum("k,kcd->cd", shares, sums.second) - mean[:, None] * mean
        target = (shares * labels) @ sums.first - label * mean
        diagonal = scatter.diagonal().mean().clamp(min=1e-12)
        ridge = _RIDGE / references * diagonal * torch.eye(len(mean), device=mean.device)
        weight = torch.linalg.solve(scatter + ridge, target)
        return cls(weight, label - mean @ weight)

    def __call__(self, cells: Tensor) -> Tensor:
        """Scores (N,) of cells (N, C)."""
        return cells @ self.weight + self.bias


def cell_weights(coverage: Tensor, valid: Tensor) -> Tensor:
    """Weights (2, N) of cells as object and as background.

    Args:
        coverage: (N,) share of each cell that the objects cover.
        valid: bool (N,): False excludes a cell.
    """
    inside = coverage > 0.5
    if not inside.any() and coverage.any():  # objects smaller than a cell
        inside = coverage >= 0.7 * coverage.max()
    background = torch.where(coverage > 0.1, _DOUBTFUL, 1.0)
    return torch.stack([inside & valid, ~inside & valid]).float() * torch.stack(
        [torch.ones_like(background), background]
    )


__all__ = ["Scorer", "Sums", "cell_weights"]
