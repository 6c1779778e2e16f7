"""Strength of a click adapter: interpolation between the base model (alpha = 0) and the full adapter (alpha = 1).

Few masks can make clicks on other images worse than those of the base. The adapters of `tailor` start at exactly the
base and end in factors that can be scaled, so every point in between is an adapter too, at no cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch

from samtailor.errors import InputError
from samtailor.segmenter import Segmenter
from samtailor.structures import Sample
from samtailor.train.feed import Feed
from samtailor.train.validate import Validation, validate


@runtime_checkable
class Interpolates(Protocol):
    """An adapter that starts at the base model and can be scaled back to it."""

    def interpolate_to_base(self, alpha: float) -> None:
        """Scale in place: 0 is the base model, 1 changes nothing."""
        ...


ALPHAS = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Strengths to compare; one below 1 must be better than 1 by `_GAIN`."""
MASKS = 64
"""Largest number of masks to compare them on."""
_MIN_IMAGES, _MIN_MASKS = 2, 8
_GAIN = 0.01  # mIoU


def judging_images(samples: Sequence[Sample], classes: Sequence[str], folds: Mapping[str, int]) -> list[Sample]:
    """Training images to keep from the prompt adapters, so that their strength can be chosen on them.

    They are the images of the first member's fold of the map. Empty where they have too few masks to compare
    strengths on; prompt adapters then learn from all training images.
    """
    kept = [sample for sample in samples if folds.get(sample.id) == 0]
    masks = sum(len(sample.of(classes)) for sample in kept)
    return kept if len(kept) >= _MIN_IMAGES and masks >= _MIN_MASKS else []


def interpolate_to_base(
    segmenter: Segmenter, feed: Feed, device: torch.device
) -> tuple[float, dict[float, Validation]]:
    """Validate all strengths and leave the best one in the segmenter.

    Args:
        segmenter: fitted, with `Segmenter.tunes_inference`: its prompt adapters and its map have
            `interpolate_to_base(alpha)`.
        feed: masks that the prompt adapters did not learn from, prompted as in use.
        device: device of the segmenter.

    Returns:
        the selected alpha, and the validation of each alpha.
    """
    full = {name: tensor.clone() for name, tensor in segmenter.learned().items()}
    validations: dict[float, Validation] = {}
    for alpha in ALPHAS:
        _scale(segmenter, full, alpha)
        validations[alpha] = validate(segmenter, feed, MASKS, device)
    best = max(ALPHAS, key=lambda alpha: validations[alpha].miou)
    best = best if validations[best].miou >= validations[1.0].miou + _GAIN else 1.0
    _scale(segmenter, full, best)
    return best, validations


def _scale(segmenter: Segmenter, full: Mapping[str, torch.Tensor], alpha: float) -> None:
    segmenter.load_learned(full)
    for name, adapter in (*segmenter.tokens.items(), *segmenter.maps.items()):
        if not isinstance(adapter, Interpolates):
            raise InputError(f"The adapter {name!r} cannot be interpolated to the base model.")
        adapter.interpolate_to_base(alpha)


__all__ = ["ALPHAS", "Interpolates", "interpolate_to_base", "judging_images"]
