"""Metrics: per mask first, then aggregated with an interval. Arrays are bool (height, width)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import cv2
import numpy as np

from samtailor.errors import InputError, counted

Interval = tuple[float, float, float]


def iou(mask: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union in [0, 1]. Both empty: 1 (nothing was asked and nothing given); one empty: 0.

    Raises:
        InputError: the shapes differ.
    """
    _same_shape(mask, true)
    union = np.count_nonzero(mask | true)
    return np.count_nonzero(mask & true) / union if union else 1.0


def dice(mask: np.ndarray, true: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) in [0, 1]. Both empty: 1; one empty: 0.

    Raises:
        InputError: the shapes differ.
    """
    _same_shape(mask, true)
    total = np.count_nonzero(mask) + np.count_nonzero(true)
    return 2 * np.count_nonzero(mask & true) / total if total else 1.0


def paper_dice(mask: np.ndarray, true: np.ndarray, *, cells: int = 64) -> float:
    """Dice as BLO-SAM and AM-SAM count it: both masks sampled at 64 x 64 points; an empty truth counts 0.

    The papers cut their low-resolution logits there; here the mask at the image's own size is sampled, so that every
    base and baseline has the figure. For comparison with published figures only: thin objects come out otherwise.
    """
    _same_shape(mask, true)
    rows, columns = (np.rint(np.linspace(0, length - 1, cells)).astype(np.intp) for length in mask.shape)
    mask, true = (one[np.ix_(rows, columns)] for one in (mask, true))
    return dice(mask, true) if true.any() else 0.0


def boundary_iou(mask: np.ndarray, true: np.ndarray, *, dilation: float = 0.02) -> float:
    """IoU of the inner boundary bands (Cheng et al., arXiv 2103.16562, Eq. 4): more telling than IoU for large objects.

    Args:
        mask, true: the masks.
        dilation: width of the band as a share of the image's diagonal; at least one pixel.
    """
    _same_shape(mask, true)
    width = max(1, round(dilation * float(np.hypot(*mask.shape))))
    return iou(_band(mask, width), _band(true, width))


def _band(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels of the mask within `width` pixels (chessboard) of its boundary; the image's border is boundary."""
    padded = np.pad(mask.astype(np.uint8), 1)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return mask & ~eroded.astype(bool)


def bootstrap(
    values: Sequence[float],
    groups: Sequence[Hashable],
    seed: int = 0,
    n: int = 1000,
    *,
    classes: Sequence[str] | None = None,
) -> Interval:
    """Mean with a 95 % cluster bootstrap interval: whole groups are drawn, masks of one image depend on each other.

    Args:
        values: one figure for each mask.
        groups: the group (image, person, video) of each mask.
        seed: of the draws.
        n: number of draws.
        classes: class of each mask; the figure is then the macro average, the unweighted mean of the means by class
            (Kim et al.'s "Average"; a class that a draw misses is left out of that draw).

    Returns:
        (mean, low, high). With fewer than two groups there is no telling, and low and high are nan.

    Raises:
        InputError: nothing to average, or lengths that differ.
    """
    values = np.asarray(values, np.float64)
    labels = ["" for _ in values] if classes is None else classes
    if len(values) == 0 or len(groups) != len(values) or len(labels) != len(values):
        raise InputError(
            f"Expected one or more values, with a group and a class each; got "
            f"{counted(len(values), 'value')}, {counted(len(groups), 'group')} and "
            f"{counted(len(labels), 'class', 'classes')}."
        )
    group_of, class_of = (_codes(keys) for keys in (groups, labels))
    shape = group_of.max() + 1, class_of.max() + 1
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (group_of, class_of), values)
    np.add.at(counts, (group_of, class_of), 1)
    mean = float((sums.sum(0) / counts.sum(0)).mean())
    if shape[0] < 2:
        return mean, float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    # how often each group is drawn, instead of the draws themselves: (n, groups)
    drawn = rng.multinomial(shape[0], np.full(shape[0], 1 / shape[0]), size=n)
    with np.errstate(invalid="ignore"):
        means = np.nanmean((drawn @ sums) / (drawn @ counts), axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return mean, float(low), float(high)


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    groups: Sequence[Hashable],
    seed: int = 0,
    n: int = 1000,
    *,
    classes: Sequence[str] | None = None,
) -> Interval:
    """Mean of first - second on the SAME masks, with its interval; far tighter than comparing two intervals.

    Raises:
        InputError: lengths that differ.
    """
    if len(first) != len(second):
        raise InputError(f"A paired difference needs the same masks on both sides, got {len(first)} and {len(second)}.")
    return bootstrap(np.asarray(first) - np.asarray(second), groups, seed, n, classes=classes)


def macro(values: Sequence[float], classes: Sequence[str]) -> float:
    """Unweighted mean over classes of each class's mean."""
    return bootstrap(values, range(len(values)), n=1, classes=classes)[0]


def by_class(values: Sequence[float], classes: Sequence[str]) -> dict[str, float]:
    """Mean of each class, sorted by name."""
    pairs = list(zip(values, classes, strict=True))
    return {name: float(np.mean([v for v, label in pairs if label == name])) for name in sorted(set(classes))}


def _codes(keys: Sequence[Hashable]) -> np.ndarray:
    """0, 1, 2, ... in order of first appearance."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in keys])


def _same_shape(mask: np.ndarray, true: np.ndarray) -> None:
    if mask.shape != true.shape or mask.ndim != 2:
        raise InputError(f"Two masks of one shape (height, width) were expected, got {mask.shape} and {true.shape}.")
