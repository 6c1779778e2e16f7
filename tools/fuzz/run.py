"""Run a reader on damaged files, in this process or in a limited child process that may crash or hang."""

from __future__ import annotations

import argparse
import json
import math
import mmap
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.mutations import BY_KIND, of_value
from fuzz.readers import READERS
from fuzz.watch import Ending, watch

HANG = 2.0
"""Longest time of one input, seconds of CPU time."""
MEMORY = 10**9
"""Most memory that reading may take beyond that of the process before it, bytes."""
HYPOTHESIS_SHARE = 4  # one in this many inputs is made by Hypothesis


@dataclass
class Outcome:
    """What became of the inputs of one reader.

    Args:
        inputs: number of inputs read; `generated` of them were made by Hypothesis.
        accepted, refused: read, or refused by an error of samtailor.
        foreign: other exceptions by type and place, with their number.
        crashes, hangs: inputs that ended the process, or took longer than `HANG`.
        seconds: longest CPU time of one input.
        bytes: growth of the largest resident size over all inputs.
        examples: description of the first failures.
    """

    inputs: int = 0
    generated: int = 0
    accepted: int = 0
    refused: int = 0
    foreign: dict[str, int] = field(default_factory=dict)
    crashes: int = 0
    hangs: int = 0
    seconds: float = 0.0
    bytes: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Join the outcome of further inputs."""
        for name in ("inputs", "generated", "accepted", "refused", "crashes", "hangs"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for key, number in other.foreign.items():
            self.foreign[key] = self.foreign.get(key, 0) + number
        self.seconds, self.bytes = max(self.seconds, other.seconds), max(self.bytes, other.bytes)
        self.examples += other.examples


def run(
    name: str, inputs: int, seed: int = 0, *, first: int = 0, generated: bool = True, on_input: Any = None
) -> Outcome:
    """Read `inputs` damaged files with a reader, in this process.

    Args:
        name: key of `READERS`.
        inputs: number of the last input plus one; equal numbers and seeds are equal inputs.
        seed: of all inputs.
        first: number of the first input.
        generated: let Hypothesis make a share of them.
        on_input: called with the number before each.
    """
    from samtailor.errors import SamtailorError

    reader, outcome = READERS[name], Outcome()
    with tempfile.TemporaryDirectory() as text, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(text)
        reader.make(folder)
        reader.read(folder)  # valid files are read, and libraries are loaded before anything is measured
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number, file, data, made in _inputs(name, folder, inputs, seed, first, generated):
            if on_input is not None:
                on_input(number)
            original = (folder / file).read_bytes()
            (folder / file).write_bytes(data)
            start = time.process_time()
            try:
                reader.read(folder)
                outcome.accepted += 1
            except SamtailorError:
                outcome.refused += 1
            except Exception as error:
                _note(outcome, f"{type(error).__name__} in {_place(error)}", f"{name} {number}: {error!r:.300}")
            spent = time.process_time() - start
            (folder / file).write_bytes(original)
            outcome.inputs += 1
            outcome.generated += made
            outcome.seconds = max(outcome.seconds, spent)
            if spent > HANG:
                outcome.hangs += 1
                outcome.examples.append(f"{name} {number}: {spent:.1f} s")
        outcome.bytes = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return outcome


def run_apart(name: str, inputs: int, seed: int = 0) -> Outcome:
    """As `run`, in child processes with limited memory; a crash or a hang is counted, and the next input follows."""
    total, first = Outcome(), 0
    while first < inputs:
        with tempfile.NamedTemporaryFile() as place:
            place.write(struct.pack("d", first - 0.5))
            place.flush()
            command = [sys.executable, __file__, name, str(inputs), str(seed), str(first), place.name]
            with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:  # pipes may fill up
                child = subprocess.Popen(command, stdout=out, stderr=errors)
                ending = watch(child, Path(place.name).read_bytes)
                out.seek(0)
                errors.seek(0)
                printed, said = out.read(), errors.read()
            reached = math.ceil(struct.unpack("d", Path(place.name).read_bytes())[0])
        if ending.code == 0:
            total.add(Outcome(**json.loads(printed.splitlines()[-1])))
            return total
        total.add(_lost(name, reached, first, ending, said))
        first = reached + 1
    return total


def _lost(name: str, reached: int, first: int, ending: Ending, errors: str) -> Outcome:
    """Outcome of a child that did not report: only the number of its inputs is known."""
    if reached == first and ending.code == 1:
        raise SystemExit(f"{name}: the harness failed.\n{errors[-3000:]}")
    lost = Outcome(inputs=reached - first + 1, crashes=not ending.hung, hangs=ending.hung)
    lost.examples.append(f"{name} {reached}: {ending.reason}. Last output: {errors.strip()[-300:] or 'none'}")
    return lost


def _inputs(
    name: str, folder: Path, inputs: int, seed: int, first: int, generated: bool
) -> Iterator[tuple[int, str, bytes, bool]]:
    """(number, file, damaged bytes, whether Hypothesis made it)."""
    files = READERS[name].files
    valid = {file: (folder / file).read_bytes() for file in files}
    share = inputs // HYPOTHESIS_SHARE if generated else 0
    made = _hypothesis(share, seed, valid, files) if share else []
    for number in range(first, inputs):
        if number < len(made):
            yield number, *made[number], True
            continue
        rng = random.Random(f"{seed}/{name}/{number}")
        file = rng.choice(sorted(files))
        yield number, file, BY_KIND[files[file]](valid[file], rng), False


def _hypothesis(count: int, seed: int, valid: dict[str, bytes], kinds: dict[str, str]) -> list[tuple[str, bytes]]:
    """Inputs made by Hypothesis: values of any JSON type at a place of the document, texts, and bytes."""
    import hypothesis
    from hypothesis import strategies as st

    numbers = st.integers() | st.floats() | st.integers(-(10**20), 10**20)
    leaves = st.none() | st.booleans() | numbers | st.text(max_size=30)
    values = st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5)
    )
    made: list[tuple[str, bytes]] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=count, database=None, deadline=None, phases=[hypothesis.Phase.generate],
                         suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    @hypothesis.given(
        st.sampled_from(sorted(valid)), values, st.binary(max_size=40), st.text(max_size=40), st.integers(0, 2**32)
    )
    def collect(file: str, value: Any, some: bytes, text: str, place: int) -> None:
        made.append((file, _placed(kinds[file], valid[file], value, some, text, random.Random(place))))

    collect()
    return made


def _placed(kind: str, data: bytes, value: Any, some: bytes, text: str, rng: random.Random) -> bytes:
    """Valid data with a value that Hypothesis made at a random place; or that value alone."""
    if kind == "json" and rng.random() < 0.8:
        document = json.loads(data)
        holder: Any = {"whole": of_value(document, rng) if rng.random() < 0.1 else document}
        target, key = holder, "whole"
        while (
            rng.random() < 0.85
            and isinstance(target, dict | list)
            and isinstance(target[key], dict | list)
            and target[key]
        ):
            target = target[key]
            key = rng.choice(list(target)) if isinstance(target, dict) else rng.randrange(len(target))
        target[key] = value
        return json.dumps(holder.get("whole")).encode()
    part = some if rng.random() < 0.5 else text.encode("utf-8", "surrogatepass")
    place = rng.randrange(len(data) + 1)
    return part if rng.random() < 0.1 else data[:place] + part + data[place + rng.choice((0, len(part))) :]


def _note(outcome: Outcome, kind: str, example: str) -> None:
    if kind not in outcome.foreign:
        outcome.examples.append(f"{kind}: {example}")
    outcome.foreign[kind] = outcome.foreign.get(kind, 0) + 1


def _place(error: BaseException) -> str:
    """Innermost line of the package in a traceback."""
    place, trace = "?", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "/samtailor/" in file:
            place = f"{file.rpartition('/samtailor/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _main() -> None:
    parser = argparse.ArgumentParser()
    for argument in ("name", "inputs", "seed", "first", "place"):
        parser.add_argument(argument)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with open(args.place, "r+b") as file:
        shared = mmap.mmap(file.fileno(), 8)
    limited = False

    def on_input(number: int) -> None:
        nonlocal limited
        if not limited:  # after the libraries are loaded
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + 2 * MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            limited = True
        shared[:8] = struct.pack("d", float(number))

    outcome = run(args.name, int(args.inputs), int(args.seed), first=int(args.first), on_input=on_input)
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    _main()
