"""Run commands on the files of a case and judge what they say and make."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

VERDICTS = ("right", "refused in words", "silent", "wrong")
"""Verdicts from best to worst. Silent: something is left out or changed, and no message says so."""
Box = tuple[int, int, int, int]
Objects = Mapping[str, Sequence[tuple[str, int, Box]]]
"""By id of the image: class, area in pixels and box (x0, y0, x1, y1) of each object."""
_READ = """
import json, logging, sys
logging.disable(50)
from samtailor.data.dataset import open_dataset
samples = open_dataset(sys.argv[1])
print(json.dumps({s.id: [[a.label, a.area, list(a.box)] for a in s.annotations] for s in samples}))
"""


@dataclass(frozen=True)
class Finding:
    """Verdict on a step, with the reason if it is not right."""

    verdict: str
    reason: str = ""


@dataclass
class Bench:
    """Where a case is run.

    Args:
        case: folder of the case.
        out: empty folder for results.
        adapter: folder of a fitted adapter.
        command: the command line of samtailor.
    """

    case: Path
    out: Path
    adapter: Path
    command: Sequence[str] = field(default_factory=lambda: (sys.executable, "-m", "samtailor"))

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a command; {data}, {case}, {out} and {adapter} are replaced."""
        places = {"data": self.case / "data", "case": self.case, "out": self.out, "adapter": self.adapter}
        return _output([*self.command, *(one.format(**places) for one in arguments)])


Step = Callable[[Bench], Finding]


@dataclass(frozen=True)
class Case:
    """What a case must do: a sentence for the table, and steps that test it."""

    expected: str
    steps: tuple[Step, ...]

    def judged(self, bench: Bench) -> Finding:
        """The worst finding of all steps."""
        return max((step(bench) for step in self.steps), key=lambda one: VERDICTS.index(one.verdict))


def reads(
    objects: Objects, *, folder: str = "data", says: Sequence[str] = (), refusal: str | None = None, code: int = 0
) -> Step:
    """`samtailor check` accepts the folder, and exactly these objects are read.

    Args:
        objects: what must be read; ids in composed Unicode.
        folder: folder in the case.
        says: regular expressions that the output must match.
        refusal: regular expression of a refusal that is accepted too.
        code: exit code of `check` for data that is read.
    """

    def step(bench: Bench) -> Finding:
        status, text = bench.run("check", f"{{case}}/{folder}")
        if refused := _refused(status, text, refusal, code):
            return refused
        status, listed = _output([sys.executable, "-c", _READ, str(bench.case / folder)])
        if status:
            return Finding("wrong", f"reading fails: {listed[-300:]}")
        samples = {unicodedata.normalize("NFC", id): rows for id, rows in json.loads(listed).items()}
        got = {id: [(n, a, tuple(box)) for n, a, box in rows] for id, rows in samples.items()}
        if got != {id: list(rows) for id, rows in objects.items()}:
            return Finding("wrong", f"read: {got}")
        return _said(text, says)

    return step


def runs(
    *arguments: str, says: Sequence[str] = (), refusal: str | None = None, makes: Sequence[str] = (), code: int = 0
) -> Step:
    """A command ends with an exit code, writes files (patterns below the output folder), and says something."""

    def step(bench: Bench) -> Finding:
        status, text = bench.run(*arguments)
        if refused := _refused(status, text, refusal, code):
            return refused
        for pattern in makes:
            if not any(bench.out.glob(pattern)):
                return Finding("wrong", f"no file {pattern}: {text[-300:]}")
        return _said(text, says)

    return step


def script(text: str, *arguments: str) -> Step:
    """A Python program; it exits with 0 if all is right and prints the difference otherwise."""

    def step(bench: Bench) -> Finding:
        places = {"data": bench.case / "data", "case": bench.case, "out": bench.out}
        status, printed = _output([sys.executable, "-c", text, *(one.format(**places) for one in arguments)])
        return Finding("wrong", printed[-400:]) if status else Finding("right")

    return step


def linked(folder: str) -> Step:
    """Make the folder `in` of the output folder, with a link to a folder of the case. Always right."""

    def step(bench: Bench) -> Finding:
        (bench.out / "in").mkdir()
        (bench.out / "in" / "link").symlink_to(bench.case / folder, target_is_directory=True)
        return Finding("right")

    return step


def _refused(status: int, text: str, refusal: str | None, code: int) -> Finding | None:
    """A finding if a command did not end as it should."""
    if "Traceback" in text:
        return Finding("wrong", f"a traceback: {text[-400:]}")
    if status == code:
        return None
    if refusal is not None and status in (1, 2) and re.search(refusal, _flat(text)):
        return Finding("refused in words", _sentence(text, refusal))
    return Finding("wrong", f"exit code {status}: {text[-400:]}")


def _said(text: str, says: Sequence[str]) -> Finding:
    missing = [one for one in says if not re.search(one, _flat(text))]
    return Finding("silent", f"nothing matches {missing}: {text[-300:]}") if missing else Finding("right")


def _flat(text: str) -> str:
    return " ".join(text.split())


def _sentence(text: str, pattern: str) -> str:
    """The sentence around a match."""
    flat = _flat(text)
    match = re.search(pattern, flat)
    return flat[max(0, match.start() - 80) : match.end() + 80] if match else flat[:160]


def _output(command: Sequence[str]) -> tuple[int, str]:
    done = subprocess.run(
        list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"COLUMNS": "200"}
    )
    return done.returncode, done.stdout
