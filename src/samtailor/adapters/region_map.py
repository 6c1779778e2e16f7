"""Region map: a few small networks predict the class in every cell from the frozen image embedding, together with a
linear discriminant in closed form. It gives masks without a prompt, and it is added to the decoder's logits for
prompts. Not from a paper; see `docs/research/tailor.md`.

With 4 to 64 masks, a small network on the frozen embedding generalizes better than a fine-tuned decoder: the decoder
segments the one object of a prompt, and few masks cannot train it for another task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from samtailor.adapters.decoder_tail import expected_iou
from samtailor.adapters.linear_map import LinearMap
from samtailor.adapters.pyramid import FULL, CompanionMaps, Pointwise, Pyramid, channels_last
from samtailor.adapters.tiled import LOGIT_LIMIT
from samtailor.bases import Base
from samtailor.bases.companions import Companion
from samtailor.errors import InputError
from samtailor.structures import Features, Output

_GAIN_SCALE = 10.0  # AdamW changes a number by about lr per step; the gain must get from 0 to 1 in a short fit
_TOKENS = 4  # SAM's mask tokens


class RegionMap(nn.Module):
    """An ensemble of networks from the embedding to one logit per low-resolution cell; their mean is the map.

    Each member has another initialization and other dropout and, with few images, is not trained on some of them
    (`folds`). Their mean is better than the best of them, and every image is held out for one member.

    Args:
        base: frozen base.
        members: number of networks; 0 only with `linear`.
        width: channels of each at the grid of the embedding, a multiple of 8, at least 16.
        dropout: fraction of channels that are dropped in training, in [0, 1).
        companion: frozen network whose features every member reads beside the embedding; None for none.
        convolutions: "full" or "depthwise", see `Pyramid`.
        member_batch: in training, images of each batch that a member learns from; None: all.
        linear: the map is the mean of that of the members and of a `LinearMap`, or the latter alone.

    Raises:
        InputError: neither a member nor `linear`, an option out of range, or unknown `convolutions`.
    """

    def __init__(
        self,
        base: Base,
        *,
        members: int = 4,
        width: int = 96,
        dropout: float = 0.3,
        companion: Companion | None = None,
        convolutions: str = FULL,
        member_batch: int | None = None,
        linear: bool = False,
    ) -> None:
        super().__init__()
        if members < (0 if linear else 1) or width < 16 or width % 8 or not 0 <= dropout < 1:
            raise InputError(
                "A region map needs members >= 1 (0 with linear), a width >= 16 that is a multiple of 8, and a dropout "
                f"in [0, 1), got {members}, {width} and {dropout}."
            )
        if member_batch is not None and member_batch < 1:
            raise InputError(f"member_batch must be at least 1, or null for the whole batch, got {member_batch}.")
        self.member_batch = member_batch
        beside = CompanionMaps.of(companion, base)
        self.members = nn.ModuleList(_Network(base, width, dropout, beside, convolutions) for _ in range(members))
        self.linear = LinearMap(base, companion) if linear else None
        self.map_gain = nn.Parameter(torch.zeros(_TOKENS))
        self.folds: dict[str, int] = {}
        """Sample id to the member for which it is held out; set by a fit, not saved."""

    def learners(self, ids: Sequence[str]) -> list[list[int]]:
        """For each member the rows of the samples that it is trained on, at most `member_batch`."""
        chosen = []
        for fold in range(len(self.members)):
            rows = [row for row, id in enumerate(ids) if self.folds.get(id) != fold]
            if self.member_batch is not None and len(rows) > self.member_batch:
                first = fold % len(rows)  # members learn from different rows
                rows = sorted((rows[first:] + rows[:first])[: self.member_batch])
            chosen.append(rows)
        return chosen

    def each(self, features: Features) -> Tensor:
        """Logits of every member (members, B, 1, h, w), gradients kept."""
        features = channels_last(features)  # once for all members
        return torch.stack([member(features) for member in self.members])

    def logits(self, features: Features) -> Tensor:
        """The map: (B, 1, h, w), the members' mean, or the mean of that and of the linear map."""
        if self.linear is None:
            return self.each(features).mean(dim=0)
        linear = self.linear(features)
        return (self.each(features).mean(dim=0) + linear) / 2 if len(self.members) else linear

    @torch.no_grad()
    def add_offset(self, offset: float) -> None:
        """Add a number to the logits of the map, for good."""
        members: Any = self.members
        for member in members:
            member.last.bias.add_(offset)
        if self.linear is not None:
            self.linear.bias.add_(offset)

    def as_output(self, logits: Tensor, features: Features, prompts: int = 1) -> Output:
        """Logits (B, 1, h, w) as the output without a prompt: P = `prompts` equal masks per image, one candidate.

        The predicted IoU is the expected IoU under the map's own probabilities.
        """
        logits = logits[:, None].expand(-1, prompts, -1, -1, -1)
        keys = features.main[:, None].expand(-1, prompts, -1, -1, -1)
        hyper = logits.new_ones(*logits.shape[:2], 1, 1)
        return Output(logits, expected_iou(logits.detach()), keys, logits, hyper, candidates=(0,))

    def forward(self, output: Output, features: Features, gain: float | Tensor | None = None) -> Output:
        """Add the map to the decoder's logits of a prompt: z + gain map (None: `trained_gain`).

        The map is detached and clamped: it is trained on regions alone, not on the single objects of prompts.
        """
        gain = self.trained_gain if gain is None else gain
        if not torch.is_grad_enabled() and not torch.as_tensor(gain).any():
            return output  # nothing would be added, and the map takes longer than the decoder
        with torch.no_grad():
            region = self.logits(features)
        return self.combine(output, region, gain)

    @property
    def trained_gain(self) -> Tensor:
        """Gain of each mask token, (4,): 10 w_m, with w_m initially 0."""
        return _GAIN_SCALE * self.map_gain

    def combine(self, output: Output, logits: Tensor, gain: float | Tensor | None = None) -> Output:
        """`forward` with the logits (B, 1, h, w) of the map at hand.

        Args:
            output: of the mask decoder.
            logits: of the map.
            gain: one for all mask tokens, or one for each; None: `trained_gain`.
        """
        gain = self.trained_gain if gain is None else gain
        region = logits.detach().clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        if isinstance(gain, Tensor) and gain.dim():
            gain = gain[: output.logits.shape[2], None, None]
        return replace(output, logits=output.logits + gain * region[:, None])


class _Network(Pyramid):
    """One logit per low-resolution cell."""

    def __init__(
        self, base: Base, width: int, dropout: float, companion: CompanionMaps | None, convolutions: str
    ) -> None:
        super().__init__(base.dim, base.skips, width, dropout, companion, convolutions)
        self.last = Pointwise(self.channels, 1)
        if self.last.bias is not None:
            nn.init.constant_(self.last.bias, -1.0)  # most of an image is background

    def forward(self, features: Features) -> Tensor:
        return self.climb_to(features, self.last)


__all__ = ["RegionMap"]
