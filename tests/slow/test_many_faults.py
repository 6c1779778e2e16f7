"""1,000 seeded faults at the writes of fit, label, export, cache, page and compare: nothing lost, nothing wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from faults.run import try_faults
from measure_faults import SHARES

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]
FAULTS = 1000


@pytest.mark.parametrize("name", SHARES)
def test_nothing_is_lost_and_nothing_is_wrong(name):
    count = round(FAULTS * SHARES[name])
    tally = try_faults(name, count, seed=17)
    assert tally.wrong == []
    assert tally.complete + tally.refused == sum(tally.tried.values()) == count


def test_the_shares_are_all():
    assert sum(round(FAULTS * share) for share in SHARES.values()) == FAULTS
