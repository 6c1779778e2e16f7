"""What a run costs, and an estimate of its rate, time and cost while it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from samtailor.errors import InputError


@dataclass(frozen=True)
class Price:
    """Price of the workers, in any currency.

    Args:
        per_hour: of one worker.
        workers: largest number of workers, which counts for the whole run.

    Raises:
        InputError: a price below 0, or none.
    """

    per_hour: float
    workers: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.per_hour) and self.per_hour >= 0):
            raise InputError(f"The price of an hour must be a number of at least 0, got {self.per_hour}.")

    def of(self, seconds: float) -> float:
        """Cost of all workers."""
        return self.per_hour * self.workers * seconds / 3600


@dataclass(frozen=True)
class Forecast:
    """What is known about a run that is going on.

    Args:
        rate: images per second since the first result; None before the second one.
        seconds_left: estimate; None without a rate.
        cost: until now, the start of the workers included; None without a price.
        total_cost: estimate for the whole run; None without a rate or a price.
    """

    rate: float | None
    seconds_left: float | None
    cost: float | None
    total_cost: float | None

    def words(self) -> str:
        """Rate and cost, as far as they are known."""
        parts = [] if self.rate is None else [f"{self.rate:.1f} images/s"]
        if self.cost is not None:
            about = "" if self.total_cost is None else f" of about {amount(self.total_cost)}"
            parts.append(f"cost {amount(self.cost)}{about}")
        return ", ".join(parts)


class Meter:
    """Measure the rate of a run from its progress.

    Args:
        price: of the workers; None: no cost.
        clock: time in seconds.
    """

    def __init__(self, price: Price | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._price, self._clock = price, clock
        self._started = clock()
        self._first: tuple[float, int] | None = None

    def update(self, done: int, total: int) -> Forecast:
        """Take the number of images that are done."""
        now = self._clock()
        if self._first is None:
            self._first = (now, done)
        since, before = self._first
        rate = (done - before) / (now - since) if done > before and now > since else None
        left = None if rate is None else (total - done) / rate
        if self._price is None:
            return Forecast(rate, left, None, None)
        cost = self._price.of(now - self._started)
        return Forecast(rate, left, cost, None if left is None else cost + self._price.of(left))


def amount(cost: float) -> str:
    """A cost with two decimals, or as many as a small one needs."""
    return f"{cost:,.2f}" if cost >= 1 or cost == 0 else f"{cost:.2g}"


__all__ = ["Forecast", "Meter", "Price", "amount"]
