"""Speed of this machine: samtailor beside what one would run instead, with floors.

All runs of a group alternate in one process, so that their ratios hold although other programs use the machine too.
A floor is the time that no implementation of the same sums can beat here: the operations over the measured rate of a
large matrix product, or the bytes that must be read over the measured bandwidth, whichever takes longer.
"""

from __future__ import annotations

from samtailor.bench.suite import GROUPS, Report, run

__all__ = ["GROUPS", "Report", "run"]
