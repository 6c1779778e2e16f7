"""Toy matcher: the base's mask for a click in the middle of the image."""

from __future__ import annotations

import torch

from samtailor.matchers import Candidates
from samtailor.structures import Prompts


class Middle:
    companions = ()
    tiles = 1
    threshold = 0.0

    def __init__(self, base, match):
        self.base, self.match = base, match

    @torch.no_grad()
    def candidates(self, features, frame):
        size = self.base.size
        points, labels = torch.full((1, 1, 1, 2), size / 2.0), torch.ones(1, 1, 1, dtype=torch.int64)
        tokens = self.base.encode_prompts(Prompts((size, size), points, labels))
        iou, logits = self.base.decode(features, tokens).best_masks()
        return Candidates(logits[0], torch.full_like(iou[0], self.match), iou[0])


def build(base, references, *, match: float = 1.0):
    return Middle(base, match)
