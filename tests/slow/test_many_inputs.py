"""Every reader on 4,000 damaged files in limited processes: no foreign exception, no crash, no hang, little memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from fuzz.readers import READERS
from fuzz.run import HANG, MEMORY, run_apart

pytestmark = pytest.mark.slow
INPUTS = 4000


@pytest.mark.parametrize("name", READERS)
def test_no_exception_but_our_own(name):
    pytest.importorskip("hypothesis")
    outcome = run_apart(name, INPUTS, seed=11)
    assert (outcome.inputs, outcome.crashes, outcome.hangs, outcome.foreign) == (INPUTS, 0, 0, {}), outcome.examples
    assert outcome.seconds < HANG
    assert outcome.bytes < MEMORY
