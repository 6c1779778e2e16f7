"""`am-sam-8`: the sheet of `am-sam-4` for the run of another data set (Li et al., arXiv 2410.09714, Fig. 8)."""

from __future__ import annotations

from samtailor.compare.figures.am_sam_4 import build

__all__ = ["build"]
