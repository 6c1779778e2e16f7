"""Whether objects of two classes overlap in the labels: parts within wholes do, classes of a segmentation do not.

Decided from the labels of the training images alone. Where labels never overlap, the classes compete for a pixel in
automatic mode, see `predict.competition`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from samtailor.structures import Sample

TOLERATED = 0.05
"""Overlap up to which labels count as apart: outlines that are drawn by hand share a few pixels."""


@dataclass(frozen=True)
class ClassOverlap:
    """How the labels of two classes overlap.

    Args:
        classes: their names, sorted.
        share: largest share, over the images, of the smaller region's pixels that both regions have, in [0, 1].
        images: number of images with objects of both classes.
    """

    classes: tuple[str, str]
    share: float
    images: int

    @property
    def exclusive(self) -> bool:
        """Whether they compete for a pixel: they occur together and never overlap."""
        return self.images > 0 and self.share <= TOLERATED

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"classes": list(self.classes), "share": round(self.share, 4)}


def overlaps_of(name: str, samples: Sequence[Sample]) -> list[ClassOverlap]:
    """How the labels of a class overlap with those of each other class of the images.

    Args:
        name: the class.
        samples: training images with the objects of all classes.
    """
    shares: dict[str, list[float]] = {}
    for sample in samples:
        regions: dict[str, np.ndarray] = {}
        for one in sample.annotations:
            if not one.crowd:
                regions[one.label] = regions.get(one.label, False) | one.mask
        if name not in regions:
            continue
        for other, region in regions.items():
            smaller = min(np.count_nonzero(region), np.count_nonzero(regions[name]))
            if other != name and smaller:
                shares.setdefault(other, []).append(float(np.count_nonzero(region & regions[name]) / smaller))
    return [
        ClassOverlap((min(name, other), max(name, other)), max(values), len(values))
        for other, values in sorted(shares.items())
    ]


def words(name: str, overlaps: Sequence[ClassOverlap]) -> list[str]:
    """Sentences about the classes that compete with one, and about those that overlap with it."""
    named = [(one, next(other for other in one.classes if other != name)) for one in overlaps]
    apart = [other for one, other in named if one.exclusive]
    shared = [f"{other} ({100 * one.share:.0f} %)" for one, other in named if one.images and not one.exclusive]
    lines = []
    if apart:
        lines.append(f"Without a prompt a pixel of {name} is not also {_or(apart)}: their labels do not overlap.")
    if shared:
        lines.append(f"Pixels may be {name} and also {_or(shared)}: their labels overlap by up to this share.")
    return lines


def _or(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


__all__ = ["TOLERATED", "ClassOverlap", "overlaps_of", "words"]
