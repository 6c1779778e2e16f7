"""A share of the fuzzing of `make test-slow`: damaged files of every reader, and no exception but our own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from fuzz.layouts import LAYOUTS, layout_readers
from fuzz.mutations import BY_KIND
from fuzz.readers import READERS
from fuzz.run import Outcome, run
from fuzz.watch import watch
from layouts import FORMATS, photo
from samtailor import registry

INPUTS = 100
LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
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


@pytest.mark.parametrize(
    ("program", "limits", "hung", "reason"),
    [
        pytest.param("while True: pass", {"cpu": 0.05}, True, "of CPU time for one input", marks=LINUX),
        ("import time; time.sleep(600)", {"wall": 0.2}, True, "killed by the harness after 0.2 s for one input"),
        ("import os; os.kill(os.getpid(), 9)", {}, False, "SIGKILL, "),
        ("import os; os.abort()", {}, False, "SIGABRT"),
        ("raise SystemExit(3)", {}, False, "exit code 3"),
    ],
)
def test_the_harness_says_why_a_child_ended(program, limits, hung, reason):
    child = subprocess.Popen([sys.executable, "-S", "-c", program])
    ending = watch(child, lambda: b"", tick=0.02, **limits)
    assert ending.hung == hung
    assert reason in ending.reason


def test_an_input_that_waits_for_a_busy_machine_is_no_hang():
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(0.3)"])
    assert watch(child, lambda: b"", cpu=0.2, tick=0.02).code == 0


def _hypothesis_is_installed() -> bool:
    try:
        import hypothesis  # noqa: F401
    except ImportError:
        return False
    return True
