"""`persam`: PerSAM (Zhang et al., arXiv 2305.03048, ICLR 2024), without training: one object per image.

With F_I the embedding of the image and T_R^i those of the n cells of the reference's object:

* Location prior: S = 1/n sum_i S^i, S^i = F_I T_R^i with both normalized. The positive click is at the maximum of S,
  the negative one at its minimum.
* Target-guided attention: A^g = Softmax(A + alpha Softmax(S)), A being a layer's attention of the tokens to the image.
* Target-semantic prompting: T^g = Repeat(T_R) + Concat(T_M, T_P), T_R being the mean of all T_R^i.
* Cascaded post-refinement: the single mask of the clicks is decoded again with itself as mask prompt, and the best mask
  of this once more with its box.

Differences: with several references, T_R^i are the cells of all of them. The bias of the attention is that of the
authors' code (`_guided.guide_of`). There is no refusal in the paper, so every image has one answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from samtailor.bases import Base
from samtailor.data.transform import Frame
from samtailor.matchers import Candidates, MarkedImage, _prior
from samtailor.matchers._guided import guide_of, guided
from samtailor.structures import Features


class PerSam:
    """See `matchers.Matcher`.

    Args:
        base: frozen base.
        references: what to find.

    Raises:
        InputError: there are negative references.
    """

    companions = ()
    tiles = 1
    threshold = 0.0

    def __init__(self, base: Base, references: Sequence[MarkedImage]) -> None:
        self._base, self._cells = base, _prior.target_cells(references, "persam")

    @torch.no_grad()
    def candidates(self, features: Features, frame: Frame) -> Candidates:
        """The one object of the image."""
        similar = _prior.similarity(features, frame, self._cells)
        (x, y), (below_x, below_y) = _prior.place(similar), _prior.place(-similar)
        prompts = _prior.click_prompts(frame, [(x, y, 1), (below_x, below_y, 0)])
        twin = guided(self._base, guide_of(similar, self._base.grid), self._cells.mean(dim=0))
        coarse = _prior.decode(twin, features, prompts).logits[0, 0, 0]
        iou, logits = _prior.best(_prior.decode(self._base, features, prompts, coarse))
        box = _prior.box_of(logits, frame)
        if box is not None:
            iou, logits = _prior.best(_prior.decode(self._base, features, prompts, logits, box))
        return _prior.one_candidate(logits, iou, float(similar.max()))


def build(base: Base, references: Sequence[MarkedImage]) -> PerSam:
    """PerSAM on references."""
    return PerSam(base, references)
