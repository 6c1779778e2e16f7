"""`am-sam-4`: image, truth and the masks of all methods side by side (Li et al., arXiv 2410.09714, Fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samtailor.compare.figures._sheets import draw_note, methods_sheet, targets_of
from samtailor.compare.run_folder import RunFolder


def build(runs: Sequence[RunFolder], *, objects: int, seed: int) -> np.ndarray:
    """The sheet, uint8 RGB, with the rows of the run in their order."""
    run = runs[0]
    return methods_sheet(run, run.titles, targets_of(run, objects, seed), draw_note(seed))


__all__ = ["build"]
