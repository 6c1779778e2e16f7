"""Time several ways of doing the same, alternately, and compare them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Runs = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Times:
    """Seconds of each round.

    Args:
        wall: elapsed.
        cpu: of all threads of this process.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One way of doing something.

    Args:
        group: what is done, and to what; rows of a group are compared with its first row.
        name: how.
        seconds: median of the rounds.
        cpu_seconds: the same of the processor, all threads.
        ratio: how many times as fast as the first row of the group: median over the rounds.
        cpu_ratio: the same in processor time, which other programs hardly change.
        floor: seconds below which this machine cannot be, see `samtailor.bench`; None if it is not known.
        precision: whose matrix rate the floor is of.
        note: for readers.
    """

    group: str
    name: str
    seconds: float
    cpu_seconds: float
    ratio: float
    cpu_ratio: float
    floor: float | None = None
    precision: str = "fp32"
    note: str = ""

    @property
    def distance(self) -> float | None:
        """Time as a multiple of the floor; None without a floor."""
        return None if self.floor is None else self.seconds / self.floor


def alternate(runs: Runs, rounds: int) -> dict[str, Times]:
    """Time runs in turn, after one round to warm up.

    Args:
        runs: by name.
        rounds: at least 1.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(-1, rounds):
        for name, run in runs.items():
            taken = timed(run)
            times[name] += [taken] if turn >= 0 else []
    return {name: Times(*map(tuple, zip(*taken, strict=True))) for name, taken in times.items()}


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds elapsed, and of the processor, until the result is there."""
    start = time.perf_counter(), time.process_time()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def rows(
    group: str,
    times: Mapping[str, Times],
    floors: Mapping[str, tuple[float, str]] | None = None,
    notes: Mapping[str, str] | None = None,
) -> list[Row]:
    """Compare the runs of a group with its first.

    Args:
        group: see `Row`.
        times: by name.
        floors: seconds and precision by name.
        notes: by name.
    """
    first = next(iter(times.values()))
    made = []
    for name, taken in times.items():
        floor, precision = (floors or {}).get(name, (None, "fp32"))
        medians = statistics.median(taken.wall), statistics.median(taken.cpu)
        ratios = _ratio(first.wall, taken.wall), _ratio(first.cpu, taken.cpu)
        made.append(Row(group, name, *medians, *ratios, floor, precision, (notes or {}).get(name, "")))
    return made


def _ratio(first: tuple[float, ...], other: tuple[float, ...]) -> float:
    return statistics.median(a / b for a, b in zip(first, other, strict=True))


__all__ = ["Row", "Runs", "Times", "alternate", "rows", "timed"]
