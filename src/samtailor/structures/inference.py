"""Inference settings of an adapter, decided by its method and its fit and saved with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from samtailor.errors import InputError
from samtailor.structures.postprocess import NOTHING, Postprocess

if TYPE_CHECKING:
    from samtailor.structures.tensors import Prompts

PROMPT_TYPES = ("click", "box")
"""Types of prompts whose strength may differ, see `InferenceSpec.strength`."""
WAYS = (*PROMPT_TYPES, "region", "instances")
"""Ways of use: prompts, and without a prompt the region of the class or all objects."""


@dataclass(frozen=True)
class TilingPlan:
    """Tiled inference of an adapter with a region map: the whole image, tiles of it, or both.

    Args:
        tiles: tiles per side of each pass; 1 is the whole image. The logits of all passes are averaged.
        boxes: weight of the decoder's logits for the boxes of the map's parts, relative to the map's own weight of 1;
            0 leaves the decoder out.

    Raises:
        InputError: no pass, less than one tile per side, or a negative weight.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # an unknown field in adapter.json is an error

    tiles: tuple[int, ...] = (1,)
    boxes: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "tiles", tuple(self.tiles))  # JSON has lists
        if not self.tiles or min(self.tiles) < 1 or self.boxes < 0:
            raise InputError(
                f"A tiling plan needs at least one number of tiles, each 1 or more, and a box weight of 0 or more; "
                f"got tiles={self.tiles} and boxes={self.boxes}."
            )

    @property
    def plain(self) -> bool:
        """Whether it is one pass over the whole image with the map alone."""
        return self.tiles == (1,) and not self.boxes

    @property
    def encodes(self) -> int:
        """Encoder passes per image, the whole image included."""
        return 1 + sum(count * count for count in self.tiles if count > 1)

    def __str__(self) -> str:
        """Description for reports and model cards."""
        passes = ("the whole image" if tiles == 1 else f"{tiles} x {tiles} overlapping tiles" for tiles in self.tiles)
        boxes = ", combined with the decoder's masks for the boxes of the map's parts" if self.boxes else ""
        return (
            " and ".join(passes) + boxes + (f" ({self.encodes} encoder passes per image)" if self.encodes > 1 else "")
        )


@dataclass(frozen=True)
class InferenceSpec:
    """How an adapter is prompted and what its predictions mean.

    Args:
        prompt: name of the prompt source that it was fitted for; None: a click ("mask-center").
        prompt_options: options of that prompt source.
        regions: it predicts one region per image and class instead of single objects.
        single_class: the map of an adapter is of one class, so that it can predict without a prompt.
        single_instance: no training image had more than one object, so that a prediction without a prompt is one
            object.
        smallest_object: area of the smallest training object as a share of its image, in [0, 1].
        part_threshold: lowest score of a part of the map that counts as an object, in [0, 1], see
            `predict.auto.by_map`.
        tiling: how an adapter with a map predicts without a prompt.
        strength: "click" and "box" to the interpolation between the base model (0) and the adapter (1) for prompts of
            that type; 1 if it is missing. With 0 the prediction is exactly that of the base model. "instances" may be
            0: the base model segments the objects of learned proposals.
        map_weight: "click" and "box" to the weight, 0 or more, with which the logits of the region map are added to
            those of the decoder for prompts of that type; the gain that the map was trained with, times the strength,
            if it is missing.
        box_margin: masks of a prompt with a box are limited to the box, enlarged on each side by this share of its
            width and height; None: no limit.
        postprocess: way of use (one of `WAYS`) to what is done to its masks; nothing if it is missing.
        exclusive: pairs of classes that compete for a pixel without a prompt, since their labels never overlap, see
            `predict.competition`.

    Raises:
        InputError: an unknown type of prompt or way of use, a strength or threshold outside [0, 1], or a weight or
            margin below 0.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    prompt: str | None = None
    prompt_options: Mapping[str, Any] = field(default_factory=dict)
    regions: bool = False
    single_class: bool = True
    single_instance: bool = True
    smallest_object: float = 0.0
    part_threshold: float = 0.0
    tiling: TilingPlan = TilingPlan()
    strength: Mapping[str, float] = field(default_factory=dict)
    map_weight: Mapping[str, float] = field(default_factory=dict)
    box_margin: float | None = None
    postprocess: Mapping[str, Postprocess] = field(default_factory=dict)
    exclusive: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclusive", tuple((one, other) for one, other in self.exclusive))  # JSON has lists
        if not 0 <= self.part_threshold <= 1:
            raise InputError(f"part_threshold is a score from 0 to 1, got {self.part_threshold}.")
        if unknown := [name for name in self.postprocess if name not in WAYS]:
            raise InputError(f"Masks are postprocessed by way of use, one of {', '.join(WAYS)}; got {unknown[0]!r}.")
        for name, value in self.strength.items():
            if not (0 <= value <= 1 if name in PROMPT_TYPES else name == "instances" and value in (0, 1)):
                raise InputError(
                    "A strength is a number from 0 (base model) to 1 (adapter) for click or box, and 0 or 1 for "
                    f"instances; got {name}={value}."
                )
        for name, value in self.map_weight.items():
            if name not in PROMPT_TYPES or not value >= 0:
                raise InputError(f"map_weight is a number of 0 or more for click or box, got {name}={value}.")
        if self.box_margin is not None and not self.box_margin >= 0:
            raise InputError(f"box_margin is a number of 0 or more, or null, got {self.box_margin}.")

    @property
    def base_prompts(self) -> tuple[str, ...]:
        """Types of prompts that the base model answers: their strength is 0, and nothing else changes its masks."""
        return tuple(name for name in PROMPT_TYPES if self.strength.get(name, 1.0) == 0 and not self._changed(name))

    @property
    def base_instances(self) -> bool:
        """Whether the base model segments the objects of learned proposals."""
        return self.strength.get("instances", 1.0) == 0

    def strength_of(self, prompts: Prompts) -> float:
        """Strength for prompts: that of boxes if they have one, else that of clicks; 1 for the empty prompt."""
        return self.strength.get(way_of(prompts), 1.0) if not prompts.empty else 1.0

    def _changed(self, prompt_type: str) -> bool:
        """Whether map or box change the masks of the base model."""
        limited = prompt_type == "box" and self.box_margin is not None
        return limited or self.map_weight.get(prompt_type, 0.0) > 0

    def postprocess_of(self, way: str) -> Postprocess:
        """What is done to the masks of a way of use: nothing where the base model answers a click or a box."""
        return NOTHING if way in self.base_prompts else self.postprocess.get(way, NOTHING)

    def min_area(self, height: int, width: int) -> int:
        """Smallest area of a part of a map, in pixels of an image of this size: a quarter of the smallest training
        object, at least 16.
        """
        return max(16, round(self.smallest_object * height * width / 4))


def way_of(prompts: Prompts) -> str:
    """Way of use of prompts: "box" if they have one, "region" for the empty prompt, else "click"."""
    if prompts.empty:
        return "region"
    return "click" if prompts.boxes is None else "box"


__all__ = ["PROMPT_TYPES", "WAYS", "InferenceSpec", "TilingPlan", "way_of"]
