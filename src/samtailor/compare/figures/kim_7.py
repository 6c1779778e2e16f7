"""`kim-7`: the sheet of `kim-4` for the run of another data set (Kim et al., arXiv 2403.09199, Fig. 7)."""

from __future__ import annotations

from samtailor.compare.figures.kim_4 import build

__all__ = ["build"]
