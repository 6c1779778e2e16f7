"""Numbers below 1e-38 are 0 while a fit runs.

A sharp attention of the mask decoder leaves most cells a weight near 0; in the gradients, products of such weights,
one number in thirty is then denormal (below 1.2e-38), and a processor takes a hundred times as long for each. Beside
a number above 1e-30 they are lost in the rounding anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flushed() -> Iterator[None]:
    """Flush them to 0 meanwhile, where the processor can.

    It holds for this thread and for those that it starts meanwhile, torch's own among them: begin early, before the
    first large tensor has made torch start them.
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
