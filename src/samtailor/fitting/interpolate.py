"""How far an adapter of clicks goes: from the base (0) to all that was learnt (1), chosen on images new to it.

Few masks can make clicks on other images worse than the base's own. The adapters of `tailor` start at exactly the
base and end in factors that can be shrunk, so every point between both is an adapter too, at no cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from samtailor.segmenter import Segmenter
from samtailor.structures import Sample
from samtailor.train.feed import Feed
from samtailor.train.validate import validate

ALPHAS = (1.0, 0.75, 0.5, 0.25, 0.0)
"""What is tried; less than all must be better by `_GAIN`."""
MASKS = 64
"""Masks that judge, at most."""
_ENOUGH = 2, 8  # images and masks; fewer say nothing
_GAIN = 0.01  # mIoU


def held_back(samples: Sequence[Sample], classes: Sequence[str], folds: Mapping[str, int]) -> list[Sample]:
    """Training images that prompts do not learn from, so that they can judge: those that the map's first member
    leaves out. Empty where they hold too few masks to judge by; prompts then learn from all.
    """
    kept = [one for one in samples if folds.get(one.id) == 0]
    masks = sum(len(one.of(classes)) for one in kept)
    return kept if len(kept) >= _ENOUGH[0] and masks >= _ENOUGH[1] else []


def interpolate_to_base(
    segmenter: Segmenter, feed: Feed, device: torch.device
) -> tuple[float, dict[float, dict[str, float]]]:
    """Try all shares and leave the best one in the segmenter.

    Args:
        segmenter: fitted, of a method that sets `Segmenter.tunes_inference`: its prompt adapters and its map have
            `interpolate_to_base(share)`.
        feed: masks to judge by, asked as in use.
        device: where the segmenter is.

    Returns:
        the share, and of each share what `validate` tells ("miou", "oracle_miou").
    """
    whole = {name: tensor.clone() for name, tensor in segmenter.learned().items()}
    reached: dict[float, dict[str, float]] = {}
    for share in ALPHAS:
        _shrink(segmenter, whole, share)
        reached[share] = validate(segmenter, feed, MASKS, device)
    best = max(ALPHAS, key=lambda share: reached[share]["miou"])
    best = best if reached[best]["miou"] >= reached[1.0]["miou"] + _GAIN else 1.0
    _shrink(segmenter, whole, best)
    return best, reached


def _shrink(segmenter: Segmenter, whole: Mapping[str, torch.Tensor], share: float) -> None:
    segmenter.load_learned(whole)
    for adapter in (*segmenter.tokens.values(), *segmenter.maps.values()):
        adapter.interpolate_to_base(share)


__all__ = ["ALPHAS", "held_back", "interpolate_to_base"]
