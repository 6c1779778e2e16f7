"""Run the jobs of a contest in its pool, and count their time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from samtailor.fitting.contest.state import ContestState
from samtailor.fitting.pool import Done
from samtailor.train.interrupt import Interrupted
from samtailor.train.progress import Progress

_POLL = 0.5  # seconds


def run_jobs(
    contest: ContestState,
    function: Callable[..., Any],
    jobs: Sequence[Any],
    ended: Callable[[Any, Done], None] | None = None,
) -> list[Any]:
    """Values of `function(context, job)` for each job, in order.

    Args:
        contest: its pool runs them, and its budget counts their time.
        function: of a module, so that other processes can run it.
        jobs: the longest first.
        ended: called with each job and what it returned, as soon as it is done.

    Raises:
        Interrupted: the contest was stopped. Otherwise the first exception of a job.
    """
    futures: dict[Future[Done], int] = {}
    for index, job in enumerate(jobs):
        futures[contest.pool.submit(function, job)] = index
        report(contest)
    waiting, values = set(futures), dict[int, Any]()
    while waiting:
        finished, waiting = wait(waiting, timeout=_POLL, return_when=FIRST_COMPLETED)
        for one in finished:
            done, index = one.result(), futures[one]
            contest.budget.add(done.cpu_seconds if contest.pool.workers > 1 else 0.0)
            if ended is not None:
                ended(jobs[index], done)
            values[index] = done.value
        report(contest)
    return [values[index] for index in range(len(jobs))]


def report(contest: ContestState) -> None:
    """Report the time that has been used.

    Raises:
        Interrupted: the contest was stopped.
    """
    if contest.stop is not None and contest.stop():
        raise Interrupted("Stopped.")
    if contest.progress is not None:
        total = round(contest.budget.total)
        spent = min(total - 1, round(contest.budget.spent))
        contest.progress(Progress("contest", max(spent, 0), total, seconds_left=contest.budget.left))


__all__ = ["report", "run_jobs"]
