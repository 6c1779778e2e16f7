"""Flush denormal numbers to 0 while a fit runs.

A sharp attention of the mask decoder gives most cells a weight near 0. In the gradients, which are products of such
weights, one number in thirty is denormal (below 1.2e-38), and a processor takes a hundred times as long for each. In
sums with numbers above 1e-30 they vanish in the rounding anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flushed() -> Iterator[None]:
    """Flush denormal numbers to 0 inside the block, if the processor supports it.

    This affects the current thread and threads that it starts, including those of torch. Enter the block before the
    first operation on a large tensor makes torch start its threads.
    """
    before = _flushing()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushing() -> bool:
    return float(torch.tensor(1e-39) * 1.0) == 0.0


__all__ = ["flushed"]
