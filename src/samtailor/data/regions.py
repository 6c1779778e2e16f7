"""Merge the objects of each class into one region per image, for methods that segment classes, not objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from samtailor.structures import Annotation, Sample


def regions(samples: Sequence[Sample], classes: Sequence[str] | None = None) -> list[Sample]:
    """Samples with at most one annotation per class, the union of its masks.

    Crowds are part of the union. Ids, images and groups do not change, so embeddings and splits remain valid.

    Args:
        samples: the samples.
        classes: classes to keep; None keeps all.
    """
    wanted = None if classes is None else tuple(classes)
    return [replace(sample, read_annotations=partial(_merged, sample, wanted)) for sample in samples]


def foreground(samples: Sequence[Sample], classes: Sequence[str] | None = None) -> list[Sample]:
    """Samples with at most one annotation, the union of all masks of the given classes (None: all)."""
    wanted = None if classes is None else tuple(classes)
    return [replace(sample, read_annotations=partial(_any, sample, wanted)) for sample in samples]


def _any(sample: Sample, classes: tuple[str, ...] | None) -> list[Annotation]:
    by_class = _merged(sample, classes)
    if not by_class:
        return []
    label = " or ".join(sorted(one.label for one in by_class))
    return [Annotation.from_mask(label, np.logical_or.reduce([one.mask for one in by_class]))]


def _merged(sample: Sample, classes: tuple[str, ...] | None) -> list[Annotation]:
    by_label: dict[str, list[Annotation]] = {}
    for annotation in sample.annotations:
        if (classes is None or annotation.label in classes) and annotation.area > 0:
            by_label.setdefault(annotation.label, []).append(annotation)
    return [
        same[0]
        if len(same) == 1 and not same[0].crowd
        else Annotation.from_mask(label, np.logical_or.reduce([a.mask for a in same]))
        for label, same in by_label.items()
    ]


__all__ = ["foreground", "regions"]
