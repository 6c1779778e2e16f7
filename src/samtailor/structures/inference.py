"""Inference settings of an adapter, decided by its method and its fit and saved with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from samtailor.errors import InputError


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
        tiling: how an adapter with a map predicts without a prompt.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    prompt: str | None = None
    prompt_options: Mapping[str, Any] = field(default_factory=dict)
    regions: bool = False
    single_class: bool = True
    single_instance: bool = True
    smallest_object: float = 0.0
    tiling: TilingPlan = TilingPlan()

    def min_area(self, height: int, width: int) -> int:
        """Smallest area of a part of a map, in pixels of an image of this size: a quarter of the smallest training
        object, at least 16.
        """
        return max(16, round(self.smallest_object * height * width / 4))


__all__ = ["InferenceSpec", "TilingPlan"]
