"""Changes of a predicted mask that need no network: holes, small parts, smoothing."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from samtailor.errors import InputError


@dataclass(frozen=True)
class Postprocess:
    """What is done to a mask after it was predicted, in the order of the fields; by default nothing.

    `masks.postprocess` applies it. All values are relative, so that they hold for images and objects of any size.

    Args:
        smoothing: sigma of the Gaussian that smooths the outline, as a share of the radius of a disc with the area of
            the largest part, in [0, 1].
        fill_holes: holes of at most this share of the area of the mask are filled, in [0, 1]; 1 fills all of them.
        crumbs: parts smaller than this share of the largest part are dropped, in [0, 1].
        min_area: parts smaller than this share of the image are dropped, in [0, 1].
        one_component: only the largest part is kept.
        rectangles: each part becomes its bounding box, for objects that are annotated as rectangles.

    Raises:
        InputError: a share outside [0, 1].
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    smoothing: float = 0.0
    fill_holes: float = 0.0
    crumbs: float = 0.0
    min_area: float = 0.0
    one_component: bool = False
    rectangles: bool = False

    def __post_init__(self) -> None:
        for name in ("smoothing", "fill_holes", "crumbs", "min_area"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} of a postprocessing is a share from 0 to 1, got {getattr(self, name)}.")

    @property
    def active(self) -> dict[str, Any]:
        """The steps that do something, by name."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name))}

    @property
    def nothing(self) -> bool:
        """Whether masks stay as they are."""
        return not self.active

    def __str__(self) -> str:
        """Description for reports and model cards."""
        texts = {
            "smoothing": "outlines smoothed by {:.3g} of the radius",
            "fill_holes": "holes up to {:.3g} of the area filled",
            "crumbs": "parts below {:.3g} of the largest dropped",
            "min_area": "parts below {:.3g} of the image dropped",
            "one_component": "only the largest part kept",
            "rectangles": "each part replaced by its bounding box",
        }
        return ", ".join(texts[name].format(value) for name, value in self.active.items()) or "nothing"


NOTHING = Postprocess()
"""Masks stay as they are."""

__all__ = ["NOTHING", "Postprocess"]
