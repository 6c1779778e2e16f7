"""Try seeded faults on a scene."""

from __future__ import annotations

import random
import shutil
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from faults.inject import DEAD, FAULTS, Fault, flip_bit, run
from faults.scenes import SCENES, Wrong


@dataclass
class Tally:
    """Faults tried on a scene, by name, and what became of them."""

    tried: Counter[str] = field(default_factory=Counter)
    complete: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


def try_faults(name: str, count: int, seed: int = 0, tally: Tally | None = None) -> Tally:
    """Try `count` seeded faults on a scene.

    Args:
        name: key of `SCENES`.
        count: number of faults; they take turns, each at a random write.
        seed: of all faults.
        tally: to continue.
    """
    scene, tally = SCENES[name], tally or Tally()
    with tempfile.TemporaryDirectory() as text, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pristine = Path(text) / "pristine"
        pristine.mkdir()
        scene.prepare(pristine)
        folder = Path(text) / "work"
        shutil.copytree(pristine, folder)
        whole = run(lambda: scene.work(folder), folder)
        if whole.code or not whole.writes or scene.judge(folder) != "complete":
            raise SystemExit(f"{name} fails without a fault: {whole}")
        for number in range(count):
            rng = random.Random(f"{seed}/{name}/{number}")
            kinds = [one for one in FAULTS if one != "bit_rot" or scene.rotten(folder)]
            fault = Fault(kinds[number % len(kinds)], rng.randrange(whole.writes), rng.randrange(2**32))
            shutil.rmtree(folder)
            shutil.copytree(pristine, folder)
            tally.tried[fault.name] += 1
            _judged(scene, folder, fault, tally, f"{name} {number} {fault}")
    return tally


def _judged(scene: object, folder: Path, fault: Fault, tally: Tally, where: str) -> None:
    ending = run(lambda: scene.work(folder), folder, fault)  # type: ignore[attr-defined]
    if ending.code not in (0, 2, DEAD):
        tally.wrong.append(f"{where}: exit code {ending.code}: {ending.text}")
        return
    if fault.name == "bit_rot":
        flip_bit(scene.rotten(folder), fault.seed)  # type: ignore[attr-defined]
    try:
        outcome = scene.judge(folder)  # type: ignore[attr-defined]
    except Wrong as error:
        tally.wrong.append(f"{where}: {error}")
    except Exception as error:
        tally.wrong.append(f"{where}: {type(error).__name__}: {error}")
    else:
        tally.complete += outcome == "complete"
        tally.refused += outcome != "complete"
