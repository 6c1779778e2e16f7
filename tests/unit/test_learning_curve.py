"""Intervals over seeds, and what the next masks would bring."""

from __future__ import annotations

import pytest

from samtailor.compare.extrapolation import learning_curve, power_law, words
from samtailor.compare.intervals import seed_interval


def test_interval_is_students():
    mean, deviation, interval = seed_interval([1.0, 2.0, 3.0])
    assert (mean, deviation) == (2.0, 1.0)
    assert interval == pytest.approx([2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5])
    assert seed_interval([0.4]) == (0.4, None, None)
    assert seed_interval([0.0] * 40 + [1.0] * 40)[2][0] == pytest.approx(0.5 - 1.96 * 0.50315 / 80**0.5, abs=1e-4)


def test_a_power_law_is_recovered():
    a, b = power_law([4, 8, 16], [1 - 0.8 * k**-0.5 for k in (4, 8, 16)])
    assert (a, b) == (pytest.approx(0.8), pytest.approx(0.5))


def test_the_gain_of_further_masks():
    dice = {k: {s: 1 - (0.8 + 0.1 * s) * k**-0.5 for s in (0, 1)} for k in (4, 8, 16)}
    curve = learning_curve(dice)
    assert (curve["from"], curve["to"]) == (8, 16)
    gains = [dice[16][s] - dice[8][s] for s in (0, 1)]
    assert curve["gain"] == pytest.approx(sum(gains) / 2)
    assert curve["law"]["shots"] == 32
    assert curve["law"]["gain"] == pytest.approx(0.85 * (16**-0.5 - 32**-0.5))
    assert curve["law"]["exponent"] == pytest.approx(0.5)
    assert "power law" in words(curve)
    assert "law" not in learning_curve({4: {"0": 0.5}, 8: {"0": 0.6}})
    assert "one seed" in words(learning_curve({4: {"0": 0.5}, 8: {"0": 0.6}}))
    assert learning_curve({4: {"0": 0.5}}) is None


def test_no_gain_is_reported_as_such():
    noise = {4: {"0": 0.5, "1": 0.7}, 8: {"0": 0.6, "1": 0.6}}
    assert "not distinguishable from no change" in words(learning_curve(noise))
    falling = {k: {"0": 0.9 - 0.01 * k, "1": 0.9 - 0.011 * k} for k in (4, 8, 16)}
    assert "there is no prediction for 32 masks" in words(learning_curve(falling))
