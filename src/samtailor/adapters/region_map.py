"""A map of the class, read off the frozen image embedding by a few small networks: where the object is without anybody
asking, and what a click's answer leans on. No paper's part; `docs/tailor.md` tells why it is here.

With 4 to 64 masks a small network on the frozen embedding generalises better than a changed decoder: the decoder
answers questions about one object, and few masks cannot teach it another question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from samtailor.adapters.decoder_tail import expected_iou
from samtailor.adapters.pyramid import Pyramid
from samtailor.adapters.tiled import LOGIT_LIMIT
from samtailor.bases import Base
from samtailor.errors import InputError
from samtailor.structures import Features, Output

_PACE = 10.0  # AdamW moves a number by about its rate a step; the leaning has to get from 0 to 1 in a short fit
_TOKENS = 4  # SAM's mask tokens


class RegionMap(nn.Module):
    """Networks on the embedding, each to one logit a low-resolution cell; their mean is the map.

    Each starts from another draw, drops other channels while it learns and, with few images, leaves some of them out
    (`folds`): their mean is better than the best of them, and on each image there is one that has not seen it.

    Args:
        base: frozen base.
        members: networks.
        width: channels of each at the embedding's grid, a multiple of 8 from 16.
        dropout: share of channels that are dropped while training.

    Raises:
        InputError: no member, or a width or share out of range.
    """

    def __init__(self, base: Base, *, members: int = 4, width: int = 96, dropout: float = 0.3) -> None:
        super().__init__()
        if members < 1 or width < 16 or width % 8 or not 0 <= dropout < 1:
            raise InputError(
                "A map needs members from 1, a width that is a multiple of 8 from 16 and a dropout in [0, 1), "
                f"got {members}, {width} and {dropout}."
            )
        self.members = nn.ModuleList(_Network(base.dim, base.skips, width, dropout) for _ in range(members))
        self.map_gain = nn.Parameter(torch.zeros(_TOKENS))
        self.folds: dict[str, int] = {}
        """Sample id to the member that does not learn from it; set by a fit, not kept beyond it."""

    def learners(self, ids: Sequence[str]) -> list[list[int]]:
        """Of each member the places of those samples that it learns from."""
        return [[row for row, id in enumerate(ids) if self.folds.get(id) != own] for own in range(len(self.members))]

    def each(self, features: Features) -> Tensor:
        """Logits of every member (members, B, 1, h, w), gradients kept."""
        if self.training and features.main.device.type == "cpu":
            features = _channels_last(features)
        return torch.stack([member(features) for member in self.members])

    def logits(self, features: Features) -> Tensor:
        """The map: (B, 1, h, w), the members' mean."""
        return self.each(features).mean(dim=0)

    def as_output(self, logits: Tensor, features: Features, prompts: int = 1) -> Output:
        """Logits (B, 1, h, w) as the answer without a prompt: P = `prompts` equal ones an image, one candidate.

        The predicted IoU is the one expected under the map's own probabilities.
        """
        logits = logits[:, None].expand(-1, prompts, -1, -1, -1)
        keys = features.main[:, None].expand(-1, prompts, -1, -1, -1)
        one = logits.new_ones(*logits.shape[:2], 1, 1)
        return Output(logits, expected_iou(logits.detach()), keys, logits, one, candidates=(0,))

    @torch.no_grad()
    def interpolate_to_base(self, share: float) -> None:
        """Shrink the leaning to a share of itself, in place: with 0 prompts are answered as by the base."""
        self.map_gain.mul_(share)

    def forward(self, output: Output, features: Features) -> Output:
        """The decoder's answer to a prompt, leaning on the map: z + 10 w_m map, w_m one number a mask token, from 0.

        The map is detached: it learns from regions alone, not from what one click meant.
        """
        with torch.no_grad():
            found = self.logits(features).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        map_gain = _PACE * self.map_gain[: output.logits.shape[2]]
        return replace(output, logits=output.logits + map_gain[:, None, None] * found[:, None])


class _Network(Pyramid):
    """One logit a low-resolution cell."""

    def __init__(self, dim: int, skips: Sequence[int], width: int, dropout: float) -> None:
        super().__init__(dim, skips, width, dropout)
        self.last = nn.Conv2d(self.channels, 1, 1)
        nn.init.constant_(self.last.bias, -1.0)  # most of an image is not the object

    def forward(self, features: Features) -> Tensor:
        return self.last(self.climb(features))


def _channels_last(features: Features) -> Features:
    """The same in another order of memory, in which the doublings and convolutions of a step are cheaper."""
    main, *skips = (t.contiguous(memory_format=torch.channels_last) for t in (features.main, *features.skips))
    return Features(main, tuple(skips))


__all__ = ["RegionMap"]
