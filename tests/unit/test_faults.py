"""A share of the faults of `make test-slow`: nothing is lost and nothing is wrong, whatever write fails."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from faults.inject import DEAD, FAULTS, Fault, run
from faults.run import try_faults
from faults.scenes import SCENES, Wrong

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
COUNTS = {"page": 20, "export": 8, "label": 10, "cache": 8, "compare": 6}


@pytest.mark.parametrize("name", COUNTS)
def test_nothing_is_lost_and_nothing_is_wrong(name):
    tally = try_faults(name, COUNTS[name], seed=3)
    assert tally.wrong == []
    assert tally.complete + tally.refused == sum(tally.tried.values()) == COUNTS[name]


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_does_what_its_name_says(name, tmp_path):
    def work() -> None:
        for i in range(3):
            (tmp_path / f".{i}").write_text("new" * 100)
            os.replace(tmp_path / f".{i}", tmp_path / str(i))

    for i in range(3):
        (tmp_path / str(i)).write_text("old")
    ending = run(work, tmp_path, Fault(name, 1, 5))
    texts = [(tmp_path / str(i)).read_text() for i in range(3)]
    new = "new" * 100
    assert texts[0] == new
    if name == "no_space":
        assert (ending.code, texts[1:]) == (2, ["old", "old"])
    elif name == "bit_rot":  # applied by the caller, afterwards
        assert (ending.code, ending.writes, texts) == (0, 3, [new] * 3)
    elif name == "lost_write":
        assert texts[1] == "old"
    else:
        assert ending.code == DEAD
        assert texts[2] == "old"
        assert texts[1] in ("old", new) or (name == "torn_write" and new.startswith(texts[1]))


def test_a_loss_is_noticed(monkeypatch):
    from samtailor.workbench import records

    monkeypatch.setattr(records, "write_through", lambda file, content: None)  # confirmed, but never written
    with pytest.raises((SystemExit, Wrong)):
        try_faults("page", 1)
    assert SCENES
