"""A share of the fuzzing of `make test-slow`: damaged files of every reader, and no exception but our own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from fuzz.layouts import LAYOUTS, layout_readers
from fuzz.mutations import BY_KIND
from fuzz.readers import READERS
from fuzz.run import Outcome, run
from layouts import FORMATS, photo
from samtailor import registry

INPUTS = 100
OTHERS = dict.fromkeys(layout_readers(), 30) | {"base": 30, "pth": 30, "adapter": 40, "proposals": 40}


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_refused_in_words(name):
    generated = _hypothesis_is_installed()
    outcome = run(name, OTHERS.get(name, INPUTS), seed=7, generated=generated)
    assert outcome.foreign == {}, outcome.examples
    assert outcome.accepted + outcome.refused == outcome.inputs == OTHERS.get(name, INPUTS)
    assert outcome.refused > 0 or name == "detected"  # `check` reports what it cannot read


def test_every_format_is_read():
    formats = {FORMATS.get(name, name) for name in LAYOUTS} | {"coco", "labelme", "voc", "yolo"}
    assert formats == set(registry.names("formats"))


def test_equal_seeds_make_equal_inputs(tmp_path):
    import random

    photo(tmp_path / "1.png")
    text = b'{"a": [1]}'
    data = dict.fromkeys(BY_KIND, text)
    data |= {"safetensors": len(text).to_bytes(8, "little") + text + b"\0" * 8}
    data |= {"image": (tmp_path / "1.png").read_bytes()}
    for kind, mutate in BY_KIND.items():
        for seed in range(20):
            assert mutate(data[kind], random.Random(seed)) == mutate(data[kind], random.Random(seed))


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
