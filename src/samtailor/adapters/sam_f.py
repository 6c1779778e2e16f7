"""SAM-F: one mask from SAM's three by two learnt weights (Kim et al., arXiv 2403.09199, section 5.1; the "scale-aware
fine-tuning" of PerSAM-F, Zhang et al., arXiv 2305.03048, Eq. 7 to 9)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from samtailor.structures import Output


class ScaleWeights(nn.Module):
    """M = w1 M1 + w2 M2 + (1 - w1 - w2) M3 on the logits of the multimask outputs.

    The weights are unconstrained, as in PerSAM-F, and may become negative. The low-resolution logits are summed;
    resizing is linear, so this equals the sum of the full-resolution logits that PerSAM-F thresholds at 0.

    Args:
        masks: number of candidates.
    """

    def __init__(self, masks: int = 3) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.full((masks - 1,), 1 / masks))

    def all_weights(self) -> Tensor:
        """(masks,) weights in the order of the candidates, with sum 1."""
        return torch.cat([self.weights, 1 - self.weights.sum(dim=0, keepdim=True)])

    def forward(self, output: Output) -> Output:
        """An output with one mask, `candidates=(0,)`. The predicted IoU is mixed likewise; no loss trains it."""
        weights = self.all_weights()
        logits = torch.einsum("bpmhw,m->bphw", output.candidate_logits(), weights).unsqueeze(2)
        hyper = torch.einsum("bpmc,m->bpc", output.hyper[:, :, list(output.candidates)], weights).unsqueeze(2)
        iou = torch.einsum("bpm,m->bp", output.candidate_iou(), weights).unsqueeze(2)
        return replace(output, logits=logits, hyper=hyper, iou=iou, candidates=(0,))
