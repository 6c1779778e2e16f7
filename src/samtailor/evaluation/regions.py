"""Confusion of a region with other classes: what else the answer of an adapter without a prompt covers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from samtailor.data.dataset import class_names
from samtailor.masks.confusion import Confusion, region_confusion
from samtailor.structures import Sample

if TYPE_CHECKING:
    from samtailor.predict.predictor import Predictor

Regions = Mapping[str, np.ndarray]


def confusion_of_regions(
    predictor: Predictor, adapters: Mapping[str, str], samples: Sequence[Sample]
) -> Confusion | None:
    """Confusion per pixel of adapters that predict without a prompt.

    Args:
        predictor: with the adapters loaded.
        adapters: class of the answer to the name of its adapter.
        samples: images that the adapters have not learned from.

    Returns:
        None if the images have no second class.
    """
    names = class_names(samples)
    if len(names) < 2:
        return None
    return region_confusion(_regions(predictor, adapters, samples), names, list(adapters))


def _regions(
    predictor: Predictor, adapters: Mapping[str, str], samples: Sequence[Sample]
) -> Iterator[tuple[Regions, Regions]]:
    """The true regions and the answers of each image."""
    for sample in samples:
        if not sample.of(None):
            continue
        true: dict[str, np.ndarray] = {}
        for one in sample.of(None):
            true[one.label] = true[one.label] | one.mask if one.label in true else one.mask
        predictor.set_sample(sample)
        answers = {}
        for label, adapter in adapters.items():
            masks, scores, _ = predictor.predict(adapter=adapter)
            answers[label] = masks[int(scores.argmax())]
        yield true, answers


__all__ = ["confusion_of_regions"]
