"""Objects of a class joined to one region an image: what methods answer that segment a class, not an object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from samtailor.structures import Annotation, Sample


def regions(samples: Sequence[Sample], classes: Sequence[str] | None = None) -> list[Sample]:
    """The samples with at most one annotation a class, the union of its masks.

    Crowd regions count as the class too: nobody asked for single objects. Ids, images and groups stay, so that
    embeddings and splits do.

    Args:
        samples: as read.
        classes: only these; None keeps all.
    """
    wanted = None if classes is None else tuple(classes)
    return [replace(sample, read_annotations=partial(_joined, sample, wanted)) for sample in samples]


def foreground(samples: Sequence[Sample], classes: Sequence[str] | None = None) -> list[Sample]:
    """The samples with at most one annotation, the union of all masks of the classes whatever they are called."""
    wanted = None if classes is None else tuple(classes)
    return [replace(sample, read_annotations=partial(_any, sample, wanted)) for sample in samples]


def _any(sample: Sample, classes: tuple[str, ...] | None) -> list[Annotation]:
    found = _joined(sample, classes)
    if not found:
        return []
    label = " or ".join(sorted(one.label for one in found))
    return [Annotation.from_mask(label, np.logical_or.reduce([one.mask for one in found]))]


def _joined(sample: Sample, classes: tuple[str, ...] | None) -> list[Annotation]:
    found: dict[str, list[Annotation]] = {}
    for annotation in sample.annotations:
        if (classes is None or annotation.label in classes) and annotation.area > 0:
            found.setdefault(annotation.label, []).append(annotation)
    return [
        same[0]
        if len(same) == 1 and not same[0].crowd
        else Annotation.from_mask(label, np.logical_or.reduce([a.mask for a in same]))
        for label, same in found.items()
    ]


__all__ = ["foreground", "regions"]
