"""Counts of objects: how far the number of objects that are found is from the true number, image by image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samtailor.masks import metrics
from samtailor.masks.average_precision import Matched


def counts_by_image(images: int, matched: Mapping[str, Matched], classes: Sequence[str]) -> np.ndarray:
    """Found and true objects of each image and class: int (images, classes, 2).

    Args:
        images: number of images.
        matched: accepted predictions, see `average_precision.match`; those on crowds do not count.
        classes: names.
    """
    out = np.zeros((images, len(classes), 2), np.int64)
    for place, label in enumerate(classes):
        one = matched[label]
        out[:, place, 0] = np.bincount(one.image[one.counts[0]], minlength=images)
        out[:, place, 1] = one.objects
    return out


def count_figures(counts: np.ndarray, groups: Sequence[Any], seed: int = 0, draws: int = 1000) -> dict[str, Any]:
    """Count errors in objects per image.

    Args:
        counts: int (images, classes, 2), see `counts_by_image`.
        groups: group of each image.
        seed, draws: of the bootstrap over groups.

    Returns:
        `count_error`: mean over images of the absolute difference between the numbers of found and of true objects,
        summed over classes; `count_bias`: the same with its sign, positive where too many are found; each with
        `..._interval` [low, high], None with fewer than two groups; `found_per_image` and `objects_per_image`. All are
        None without images.
    """
    names = ("count_error", "count_bias")
    if not len(counts):
        empty = dict.fromkeys([*names, *(f"{name}_interval" for name in names)])
        return {**empty, "found_per_image": None, "objects_per_image": None}
    change = counts[..., 0] - counts[..., 1]
    out: dict[str, Any] = {}
    for name, values in zip(names, (np.abs(change).sum(axis=1), change.sum(axis=1)), strict=True):
        mean, low, high = metrics.bootstrap(values.astype(np.float64), groups, seed, draws)
        out[name], out[f"{name}_interval"] = mean, None if math.isnan(low) else [low, high]
    predicted, true = counts.sum(axis=(0, 1)) / len(counts)
    return {**out, "found_per_image": float(predicted), "objects_per_image": float(true)}


def count_text(figures: Mapping[str, Any]) -> str:
    """ "3.1 [2.0, 4.4], bias -0.4" in objects per image; "-" without a value."""
    if figures.get("count_error") is None:
        return "-"
    bounds = figures.get("count_error_interval")
    interval = "" if bounds is None else f" [{bounds[0]:.1f}, {bounds[1]:.1f}]"
    return f"{figures['count_error']:.1f}{interval}, bias {figures['count_bias']:+.1f}"


__all__ = ["count_figures", "count_text", "counts_by_image"]
