"""Variants of a region without a prompt: a plan of tiled inference, and an offset of the logits of the map.

A map that has learnt small objects from a few masks is too cautious: on other images most of them stay below a
probability of 0.5. The offset that gives the best out-of-fold Dice mends that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from samtailor.fitting.select_inference import PLANS

OFFSETS = (0, 1, 2, 3, 4)
"""Offsets of the logits to compare; 0 first: it is kept unless another one is better by enough."""
DECODED_OFFSETS = (0, 2)
"""The same for plans with the decoder's masks, which have to be decoded anew for each offset."""


@dataclass(frozen=True)
class RegionVariant:
    """How a map is used.

    Args:
        plan: number of the plan of tiled inference (`select_inference.PLANS`).
        offset: is added to the logits of the map. Those that are compared are whole numbers; a plan that is repeated
            may have another one.
    """

    plan: int = 0
    offset: float = 0

    @property
    def name(self) -> str:
        """The name in plan.json: "3", or "3+2" for plan 3 and offset 2."""
        return str(self.plan) if self.offset == 0 else f"{self.plan}{self.offset:+g}"

    @classmethod
    def of(cls, name: str) -> RegionVariant:
        """The variant of a name."""
        plan, offset = name[:1], name[1:]
        return cls(int(plan), float(offset or 0))

    def __str__(self) -> str:
        """In words; empty for the whole image alone at a probability of 0.5."""
        parts = [] if self.plan == 0 else [f"by {PLANS[self.plan]}"]
        parts += [] if self.offset == 0 else [f"where the map's probability is above {threshold(self.offset):.2f}"]
        return ", ".join(parts)


ALL = tuple(
    RegionVariant(number, offset)
    for number, plan in enumerate(PLANS)
    for offset in (DECODED_OFFSETS if plan.boxes else OFFSETS)
)
"""All variants; those of a plan follow one another, without an offset first."""


def threshold(offset: float) -> float:
    """Probability of the map without the offset at which the mask is cut."""
    return 1 / (1 + math.exp(offset))


__all__ = ["ALL", "DECODED_OFFSETS", "OFFSETS", "RegionVariant", "threshold"]
