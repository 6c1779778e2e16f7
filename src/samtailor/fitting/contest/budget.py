"""Time that a contest may take, and what it has taken."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from samtailor.errors import InputError
from samtailor.registry import choose

DEFAULT_SECONDS = 120.0
"""Budget where none is given."""
CLASS_SECONDS = 60.0
"""The same for each of several classes that have a contest of their own."""
CLOCKS = ("wall", "cpu")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(budget: str) -> float:
    """Seconds of a budget such as "30s", "2m" or "1h".

    Raises:
        InputError: another format, or nothing.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", str(budget).strip().lower())
    if match is None or float(match[1]) <= 0:
        raise InputError(f"A budget is a number with s, m or h, such as 30s, 2m or 1h; got {budget!r}.")
    return float(match[1]) * _UNITS[match[2]]


def total_seconds(budget: str | None, classes: int = 1) -> float:
    """Seconds of a budget for all classes together; without one, 2 minutes, or a minute for each class if that is more.

    Raises:
        InputError: an invalid budget.
    """
    return max(DEFAULT_SECONDS, CLASS_SECONDS * classes) if budget is None else seconds(budget)


@dataclass
class Budget:
    """Time left.

    Args:
        total: seconds.
        workers: processes that work at the same time.
        clock: "wall", or "cpu": CPU seconds of all processes divided by their number, which on a busy machine is the
            time that the contest would take on a quiet one.

    Raises:
        InputError: an unknown clock.
    """

    total: float
    workers: int = 1
    clock: str = "wall"
    _start: float = field(default_factory=time.monotonic)
    _cpu_start: float = field(default_factory=time.process_time)
    _cpu_of_jobs: float = 0.0

    def __post_init__(self) -> None:
        choose("clock", self.clock, CLOCKS)

    def add(self, cpu_seconds: float) -> None:
        """Count the CPU time of a job that another process has done."""
        self._cpu_of_jobs += cpu_seconds

    def pace(self, cpu_seconds: float, seconds: float) -> float:
        """Seconds of this clock for each CPU second of a job: above 1 on a machine that other programs use too.

        Args:
            cpu_seconds, seconds: CPU and wall time of the job.
        """
        return seconds / cpu_seconds if self.clock == "wall" and cpu_seconds > 0 else 1.0

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of this process since the start, and of the jobs."""
        return time.process_time() - self._cpu_start + self._cpu_of_jobs

    @property
    def spent(self) -> float:
        """Seconds since the start, by the clock."""
        return time.monotonic() - self._start if self.clock == "wall" else self.cpu_seconds / self.workers

    @property
    def left(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self.total - self.spent)


__all__ = ["CLASS_SECONDS", "CLOCKS", "DEFAULT_SECONDS", "Budget", "seconds", "total_seconds"]
