"""Variants of the answer to clicks and boxes: strength of the prompt adapter, weight of the region map, and whether the
mask of a box is limited to the box.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from samtailor.structures import InferenceSpec

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Weights of the map to compare."""
MARGIN = 0.1
"""How far beyond a box its mask may go, see `InferenceSpec.box_margin`: boxes are drawn by hand."""
_MAP, _LIMITED = "+map", "+margin"


@dataclass(frozen=True)
class PromptVariant:
    """How a type of prompt is answered; the defaults are the base model.

    Args:
        strength: see `InferenceSpec`.
        weight: of the region map, `InferenceSpec.map_weight`.
        margin: see `InferenceSpec.box_margin`; boxes only.
    """

    strength: float = 0.0
    weight: float = 0.0
    margin: float | None = None

    @property
    def name(self) -> str:
        """The name in plan.json: "0.5" for the adapter at half its strength, or "0+map1+margin0.1"."""
        weight = f"{_MAP}{self.weight:g}" if self.weight else ""
        return f"{self.strength:g}{weight}" + ("" if self.margin is None else f"{_LIMITED}{self.margin:g}")

    @classmethod
    def of(cls, name: str) -> PromptVariant:
        """The variant of a name."""
        rest, _, margin = name.partition(_LIMITED)
        strength, _, weight = rest.partition(_MAP)
        return cls(float(strength), float(weight or 0), float(margin) if margin else None)

    def __str__(self) -> str:
        """In words, without the strength; empty for the adapter alone."""
        parts = ["the region map"] if self.weight else []
        return " and ".join([*parts, *([] if self.margin is None else ["masks limited to their boxes"])])


def applied(inference: InferenceSpec, variants: Mapping[str, PromptVariant]) -> InferenceSpec:
    """Inference settings with the variants of clicks and boxes."""
    return replace(
        inference,
        strength={name: one.strength for name, one in variants.items() if one.strength != 1},
        map_weight={name: one.weight for name, one in variants.items() if one.weight},
        box_margin=variants["box"].margin if "box" in variants else None,
    )


__all__ = ["MARGIN", "WEIGHTS", "PromptVariant", "applied"]
