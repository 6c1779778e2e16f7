"""Metrics against plain counting; intervals against explicit resampling."""

from __future__ import annotations

import math

import numpy as np
import pytest

from samtailor.errors import InputError
from samtailor.masks import metrics

EMPTY = np.zeros((8, 8), bool)
FULL = np.ones((8, 8), bool)


def test_iou_and_dice_count_pixels():
    a, b = EMPTY.copy(), EMPTY.copy()
    a[:4], b[2:6] = True, True
    assert metrics.iou(a, b) == pytest.approx(16 / 48)
    assert metrics.dice(a, b) == pytest.approx(2 * 16 / 64)


@pytest.mark.parametrize("metric", [metrics.iou, metrics.dice, metrics.boundary_iou])
def test_empty_conventions(metric):
    assert metric(EMPTY, EMPTY) == 1
    assert metric(FULL, EMPTY) == metric(EMPTY, FULL) == 0
    assert metric(FULL, FULL) == 1


@pytest.mark.parametrize("metric", [metrics.iou, metrics.dice, metrics.boundary_iou])
def test_other_shapes_are_refused(metric):
    with pytest.raises(InputError, match="one shape"):
        metric(EMPTY, np.zeros((8, 9), bool))


def band_by_hand(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels with a pixel outside the mask, or outside the image, within `width` rows and columns."""
    out = np.zeros_like(mask)
    padded = np.pad(mask, width)
    for y, x in zip(*np.nonzero(mask), strict=True):
        out[y, x] = not padded[y : y + 2 * width + 1, x : x + 2 * width + 1].all()
    return out


def test_boundary_iou_is_the_iou_of_the_inner_bands():
    y, x = np.mgrid[:90, :120]
    a, b = (y - 40) ** 2 + (x - 50) ** 2 < 900, (y - 44) ** 2 + (x - 58) ** 2 < 1000
    width = round(0.02 * 150)
    assert width == 3
    wanted = metrics.iou(band_by_hand(a, width), band_by_hand(b, width))
    assert metrics.boundary_iou(a, b) == pytest.approx(wanted)
    assert wanted < metrics.iou(a, b)


def test_bootstrap_resamples_groups():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 5)
    values = rng.normal(0.5, 0.02, 60) + np.repeat(rng.normal(0, 0.1, 12), 5)
    mean, low, high = metrics.bootstrap(values, groups, seed=1, n=4000)
    assert mean == pytest.approx(values.mean())
    by_hand = [np.concatenate([values[groups == g] for g in rng.integers(0, 12, 12)]).mean() for _ in range(4000)]
    np.testing.assert_allclose((low, high), np.percentile(by_hand, [2.5, 97.5]), atol=0.006)
    _, low_alone, high_alone = metrics.bootstrap(values, range(60), seed=1)
    assert high - low > 1.5 * (high_alone - low_alone)


@pytest.mark.parametrize("classes", [False, True])
def test_the_interval_is_the_95_percent_range_of_as_many_groups_as_there_are(classes):
    rng = np.random.default_rng(5)
    values, groups = rng.random(30), np.repeat(np.arange(6), 5)
    labels = [["a", "b"][i % 2] for i in range(30)]
    draws = np.random.default_rng(7).multinomial(6, [1 / 6] * 6, size=1000)
    by_hand = []
    for counts in draws:
        rows = [i for i in range(30) for _ in range(counts[groups[i]])]
        kinds = [[i for i in rows if labels[i] == kind] for kind in "ab"] if classes else [rows]
        by_hand.append(np.mean([values[one].mean() for one in kinds]))
    _, low, high = metrics.bootstrap(values, groups, seed=7, classes=labels if classes else None)
    assert (low, high) == pytest.approx(np.percentile(by_hand, [2.5, 97.5]), abs=1e-12)


def test_the_mean_over_unequal_groups_is_the_mean_over_masks():
    mean, low, high = metrics.bootstrap([1, 1, 1, 0], ["a", "a", "a", "b"], seed=0)
    assert mean == pytest.approx(0.75)
    assert (low, high) == (0, 1)


def test_bootstrap_is_seeded():
    values, groups = np.random.default_rng(0).random(30), np.arange(30) // 2
    assert metrics.bootstrap(values, groups, seed=3) == metrics.bootstrap(values, groups, seed=3)
    assert metrics.bootstrap(values, groups, seed=3) != metrics.bootstrap(values, groups, seed=4)


def test_intervals_have_about_the_nominal_coverage():
    rng, hits = np.random.default_rng(1), 0
    for trial in range(200):
        values = rng.normal(0, 1, (40, 1)) + rng.normal(0, 0.3, (40, 3))
        _, low, high = metrics.bootstrap(values.ravel(), np.repeat(np.arange(40), 3), seed=trial, n=300)
        hits += low <= 0 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_one_group_has_no_interval():
    mean, low, high = metrics.bootstrap([0.2, 0.4], ["a", "a"])
    assert mean == pytest.approx(0.3)
    assert math.isnan(low)
    assert math.isnan(high)


def test_paired_difference_is_tighter_than_two_intervals():
    rng = np.random.default_rng(2)
    hard = rng.random(80)
    first, second = hard + 0.05 + rng.normal(0, 0.01, 80), hard
    mean, low, high = metrics.paired_difference(first, second, range(80), seed=0)
    assert mean == pytest.approx((first - second).mean())
    assert 0 < low < mean < high
    _, alone_low, alone_high = metrics.bootstrap(first, range(80), seed=0)
    assert high - low < 0.2 * (alone_high - alone_low)
    with pytest.raises(InputError, match="same masks"):
        metrics.paired_difference([1.0], [1.0, 2.0], [0])


def test_the_macro_average_weights_classes_equally():
    values, classes = [1.0, 1.0, 1.0, 0.0], ["nose", "nose", "nose", "hat"]
    assert metrics.macro(values, classes) == pytest.approx(0.5)
    assert metrics.by_class(values, classes) == {"hat": 0.0, "nose": 1.0}
    mean, low, high = metrics.bootstrap(values, range(4), seed=0, classes=classes)
    assert mean == pytest.approx(0.5)
    assert 0 <= low <= high <= 1


@pytest.mark.parametrize(("values", "groups"), [([], []), ([0.1], []), ([0.1], ["a", "b"])])
def test_empty_and_unequal_inputs_are_refused(values, groups):
    with pytest.raises(InputError, match="Expected at least one value"):
        metrics.bootstrap(values, groups)


def test_paper_dice_uses_a_grid_of_64():
    y, x = np.mgrid[:127, :190]
    a, b = (y - 60) ** 2 + (x - 80) ** 2 < 1600, (y - 62) ** 2 + (x - 99) ** 2 < 1500
    rows, columns = np.arange(64) * 2, np.rint(np.arange(64) * 3).astype(int)  # 127 and 190 px: every 2nd and 3rd
    assert metrics.paper_dice(a, b) == metrics.dice(a[np.ix_(rows, columns)], b[np.ix_(rows, columns)])
    assert metrics.paper_dice(a, b) == pytest.approx(metrics.dice(a, b), abs=0.02)
    assert metrics.paper_dice(EMPTY, EMPTY) == metrics.paper_dice(FULL, EMPTY) == 0  # the papers' convention
    with pytest.raises(InputError, match="one shape"):
        metrics.paper_dice(EMPTY, np.zeros((8, 9), bool))
