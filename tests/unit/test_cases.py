"""The judge of the cases: what is right, refused, silent and wrong, on a small data set."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from layouts.basic import write_folder
from layouts.shapes import blob

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from cases.expected import EXPECTED
from cases.judge import Bench, Case, Finding, reads, runs


@pytest.fixture
def bench(tmp_path):
    write_folder(tmp_path / "data", ids=(1,))
    (tmp_path / "out").mkdir()
    return Bench(tmp_path, tmp_path / "out", tmp_path / "adapter")


def object_of(mask):
    rows, columns = mask.nonzero()
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    return ("object", int(mask.sum()), box)


def test_verdicts(bench):
    expected = {"1": [object_of(blob(1))]}
    assert reads(expected, says=("1 found, 1 read",))(bench) == Finding("right")
    assert reads(expected, says=("no such sentence",))(bench).verdict == "silent"
    assert reads({"1": []})(bench).verdict == "wrong"
    assert runs("check", "{case}/nothing", code=0)(bench).verdict == "wrong"
    assert runs("check", "{case}/nothing", refusal="nothing")(bench).verdict == "refused in words"


def test_the_worst_finding_counts(bench):
    def step(verdict):
        return lambda _: Finding(verdict)

    assert Case("x", (step("right"), step("silent"), step("refused in words"))).judged(bench).verdict == "silent"
    assert Case("x", (step("right"), step("wrong"))).judged(bench).verdict == "wrong"


def test_every_case_has_steps():
    assert all(case.steps and case.expected for case in EXPECTED.values())
