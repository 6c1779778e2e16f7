"""A share of the fuzzing of `make test-slow`: damaged files of every reader, and no exception but our own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from fuzz.mutations import BY_KIND
from fuzz.readers import READERS
from fuzz.run import Outcome, run

INPUTS = 100
HEAVY = {"base": 30, "pth": 30, "adapter": 40, "proposals": 40}


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_refused_in_words(name):
    generated = _hypothesis_is_installed()
    outcome = run(name, HEAVY.get(name, INPUTS), seed=7, generated=generated)
    assert outcome.foreign == {}, outcome.examples
    assert outcome.accepted + outcome.refused == outcome.inputs == HEAVY.get(name, INPUTS)
    assert outcome.refused > 0 or name == "detected"  # `check` reports what it cannot read


def test_equal_seeds_make_equal_inputs():
    import random

    for mutate in BY_KIND.values():
        data = (
            len(b'{"a": [1]}').to_bytes(8, "little") + b'{"a": [1]}' + b"\0" * 8
            if mutate is BY_KIND["safetensors"]
            else b'{"a": [1]}'
        )
        assert mutate(data, random.Random("x")) == mutate(data, random.Random("x"))


def test_a_foreign_exception_is_counted(monkeypatch):
    import dataclasses

    def read(folder):
        if (folder / "split.json").read_bytes() != valid:
            raise ZeroDivisionError

    reader = READERS["split"]
    made = []

    def make(folder):
        reader.make(folder)
        made.append((folder / "split.json").read_bytes())

    def first_read(folder):
        nonlocal valid
        valid = made[-1]
        read(folder)

    valid = b""
    monkeypatch.setitem(READERS, "split", dataclasses.replace(reader, make=make, read=first_read))
    outcome = run("split", 20, generated=False)
    assert sum(outcome.foreign.values()) >= 15
    assert outcome.examples


def test_outcomes_are_joined():
    total = Outcome(inputs=1, foreign={"a": 1}, seconds=0.5)
    total.add(Outcome(inputs=2, foreign={"a": 1, "b": 1}, crashes=1, seconds=0.1))
    assert (total.inputs, total.foreign, total.crashes, total.seconds) == (3, {"a": 2, "b": 1}, 1, 0.5)


def _hypothesis_is_installed() -> bool:
    try:
        import hypothesis  # noqa: F401
    except ImportError:
        return False
    return True
