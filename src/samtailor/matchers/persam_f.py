"""`persam-f`: PerSAM-F (Zhang et al., arXiv 2305.03048, ICLR 2024): two mask weights fitted on the references.

M = w_1 M_1 + w_2 M_2 + (1 - w_1 - w_2) M_3 of the three candidate masks of a click at the maximum of the similarity.
Both weights start at 1/3 and are fitted on the reference with the Dice and the focal loss (AdamW, learning rate 1e-3,
1000 steps, cosine schedule); everything else is frozen. The cascaded post-refinement follows: twice the best mask of
the click, the box and the mask of the step before.

Differences: the losses are computed on the grid of the mask logits. With several references, they are averaged, and
the target's direction is that of all their cells: half their mean plus half their maximum, as in the authors' code.
There is no refusal in the paper, so every image has one answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.bases import Base
from samtailor.data.augment import UNTOUCHED
from samtailor.data.transform import Frame
from samtailor.matchers import Candidates, MarkedImage, _prior
from samtailor.structures import Features

STEPS, LR, EPS = 1000, 1e-3, 1e-4
_ALPHA, _GAMMA = 0.25, 2  # of the focal loss


class PerSamF:
    """See `matchers.Matcher`.

    Args:
        base: frozen base.
        references: what to find.
        steps: of the fit of the two weights.

    Raises:
        InputError: there are negative references.
    """

    companions = ()
    tiles = 1
    threshold = 0.0

    def __init__(self, base: Base, references: Sequence[MarkedImage], steps: int) -> None:
        self._base = base
        cells = _prior.target_cells(references, "persam-f")
        self._direction = (cells.amax(dim=0, keepdim=True) + cells.mean(dim=0, keepdim=True)) / 2
        with torch.no_grad():
            masks = [self._three(one.see((), UNTOUCHED), one.frame)[0] for one in references]
        targets = [one.frame.target(one.union).to(cells.device) for one in references]
        self.weights = fit_weights(torch.stack(masks).float(), torch.stack(targets), steps)
        """(3,) weights of the candidate masks; their sum is 1."""

    @torch.no_grad()
    def candidates(self, features: Features, frame: Frame) -> Candidates:
        """The one object of the image."""
        masks, iou, similar = self._three(features, frame)
        prompts = _prior.click_prompts(frame, [(*_prior.place(similar), 1)])
        logits = torch.einsum("m,mhw->hw", self.weights, masks.float())
        score = torch.einsum("m,m->", self.weights, iou.float())
        for _ in range(2):
            box = _prior.box_of(logits, frame)
            if box is None:
                break
            score, logits = _prior.best(_prior.decode(self._base, features, prompts, logits, box))
        return _prior.one_candidate(logits, score, float(similar.max()))

    def _three(self, features: Features, frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (3, h, w) and predicted IoU (3,) of the click on the most similar place, and the similarity."""
        similar = _prior.similarity(features, frame, self._direction)
        output = _prior.decode(self._base, features, _prior.click_prompts(frame, [(*_prior.place(similar), 1)]))
        return output.candidate_logits()[0, 0], output.candidate_iou()[0, 0], similar


def fit_weights(masks: Tensor, targets: Tensor, steps: int) -> Tensor:
    """Fit the weights of three masks.

    Args:
        masks: logits (R, 3, h, w) of R references.
        targets: (R, h, w) in [0, 1].
        steps: number of steps.

    Returns:
        (3,), of sum 1, without a gradient.
    """
    with torch.enable_grad():
        two = torch.full((2,), 1 / 3, device=masks.device, requires_grad=True)
        optimizer = torch.optim.AdamW([two], lr=LR, eps=EPS)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            loss = _loss((masks * _all(two)[:, None, None]).sum(dim=1), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return _all(two).detach()


def _all(two: Tensor) -> Tensor:
    return torch.cat([two, 1 - two.sum(dim=0, keepdim=True)])


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice loss plus focal loss of masks (R, h, w), averaged over R."""
    p, y = logits.sigmoid().flatten(1), targets.flatten(1)
    dice = 1 - (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)
    entropy = F.binary_cross_entropy_with_logits(logits.flatten(1), y, reduction="none")
    p_true = p * y + (1 - p) * (1 - y)
    focal = (_ALPHA * y + (1 - _ALPHA) * (1 - y)) * entropy * (1 - p_true) ** _GAMMA
    return (dice + focal.mean(dim=1)).mean()


def build(base: Base, references: Sequence[MarkedImage], *, steps: int = STEPS) -> PerSamF:
    """PerSAM-F on references.

    Args:
        base: frozen base.
        references: what to find.
        steps: of the fit of the two weights.
    """
    from samtailor.registry import number

    return PerSamF(base, references, number("steps", steps, at_least=1, integer=True))
