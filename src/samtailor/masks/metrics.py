"""Metrics of single masks, and their means with confidence intervals. Masks are bool (height, width)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import cv2
import numpy as np

from samtailor.errors import InputError, counted

Interval = tuple[float, float, float]


def iou(mask: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union in [0, 1]. Both masks empty: 1. One empty: 0.

    Raises:
        InputError: the shapes differ.
    """
    _same_shape(mask, true)
    union = np.count_nonzero(mask | true)
    return np.count_nonzero(mask & true) / union if union else 1.0


def dice(mask: np.ndarray, true: np.ndarray) -> float:
    """Dice score 2 |A and B| / (|A| + |B|) in [0, 1]. Both masks empty: 1. One empty: 0.

    Raises:
        InputError: the shapes differ.
    """
    _same_shape(mask, true)
    total = np.count_nonzero(mask) + np.count_nonzero(true)
    return 2 * np.count_nonzero(mask & true) / total if total else 1.0


def paper_dice(mask: np.ndarray, true: np.ndarray, *, cells: int = 64) -> float:
    """Dice as BLO-SAM and AM-SAM compute it: both masks sampled at 64 x 64 points; an empty true mask counts 0.

    The papers threshold their low-resolution logits there. Here the full-size mask is sampled, so that the metric
    exists for every base and baseline. Use it only to compare with published results: it distorts thin objects.
    """
    _same_shape(mask, true)
    rows, columns = (np.rint(np.linspace(0, length - 1, cells)).astype(np.intp) for length in mask.shape)
    mask, true = (one[np.ix_(rows, columns)] for one in (mask, true))
    return dice(mask, true) if true.any() else 0.0


def boundary_iou(mask: np.ndarray, true: np.ndarray, *, dilation: float = 0.02) -> float:
    """IoU of the inner boundary bands (Cheng et al., arXiv 2103.16562, Eq. 4); sensitive to outlines of large objects.

    Args:
        mask, true: the masks.
        dilation: width of the band relative to the image diagonal; at least one pixel.
    """
    _same_shape(mask, true)
    width = max(1, round(dilation * float(np.hypot(*mask.shape))))
    return iou(_band(mask, width), _band(true, width))


def _band(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels of the mask within `width` pixels (chessboard distance) of its boundary, image border included."""
    padded = np.pad(mask.astype(np.uint8), 1)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return mask & ~eroded.astype(bool)


def bootstrap(
    values: Sequence[float] | np.ndarray,
    groups: Sequence[Hashable],
    seed: int = 0,
    n: int = 1000,
    *,
    classes: Sequence[str] | None = None,
) -> Interval:
    """Mean with a 95 % cluster bootstrap interval. Whole groups are resampled, since masks of one image are dependent.

    Args:
        values: one value per mask.
        groups: the group (image, person, video) of each mask.
        seed: random seed.
        n: number of bootstrap samples.
        classes: class of each mask. The statistic is then the macro average, the unweighted mean of the class means
            (Kim et al.'s "Average"); a class absent from a bootstrap sample is left out of that sample.

    Returns:
        (mean, low, high). With fewer than two groups low and high are nan.

    Raises:
        InputError: no values, or the lengths differ.
    """
    labels = ["" for _ in values] if classes is None else classes
    if len(values) == 0 or len(groups) != len(values) or len(labels) != len(values):
        raise InputError(
            f"Expected at least one value, with a group and a class for each, got "
            f"{counted(len(values), 'value')}, {counted(len(groups), 'group')} and "
            f"{counted(len(labels), 'class', 'classes')}."
        )
    group_of, class_of = (_codes(keys) for keys in (groups, labels))
    shape = group_of.max() + 1, class_of.max() + 1
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (group_of, class_of), np.asarray(values, np.float64))
    np.add.at(counts, (group_of, class_of), 1)
    mean = float((sums.sum(0) / counts.sum(0)).mean())
    if shape[0] < 2:
        return mean, float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    # how often each group occurs in each bootstrap sample: (n, groups)
    occurrences = rng.multinomial(shape[0], np.full(shape[0], 1 / shape[0]), size=n)
    with np.errstate(invalid="ignore"):
        means = np.nanmean((occurrences @ sums) / (occurrences @ counts), axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return mean, float(low), float(high)


def paired_difference(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    groups: Sequence[Hashable],
    seed: int = 0,
    n: int = 1000,
    *,
    classes: Sequence[str] | None = None,
) -> Interval:
    """Mean of first - second on the same masks, with its interval. Arguments as for `bootstrap`.

    Pairing removes the variation between masks, so the interval is far narrower than a comparison of two intervals.

    Raises:
        InputError: the lengths differ.
    """
    if len(first) != len(second):
        raise InputError(f"A paired difference compares the same masks, got {len(first)} and {len(second)} values.")
    return bootstrap(np.asarray(first) - np.asarray(second), groups, seed, n, classes=classes)


def macro(values: Sequence[float] | np.ndarray, classes: Sequence[str]) -> float:
    """Unweighted mean of the class means."""
    return bootstrap(values, range(len(values)), n=1, classes=classes)[0]


def by_class(values: Sequence[float] | np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Mean per class, sorted by class name."""
    pairs = list(zip(values, classes, strict=True))
    return {name: float(np.mean([v for v, label in pairs if label == name])) for name in sorted(set(classes))}


def _codes(keys: Sequence[Hashable]) -> np.ndarray:
    """0, 1, 2, ... in order of first appearance."""
    codes: dict[Hashable, int] = {}
    return np.array([codes.setdefault(key, len(codes)) for key in keys])


def _same_shape(mask: np.ndarray, true: np.ndarray) -> None:
    if mask.shape != true.shape or mask.ndim != 2:
        raise InputError(f"Two masks of one shape (height, width) are expected, got {mask.shape} and {true.shape}.")
