"""`kim-4`: image, truth, SAM, SAM-F, +PLM and +PLM+PMM side by side (Kim et al., arXiv 2403.09199, Fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samtailor.compare.figures._sheets import draw_note, methods_sheet, targets_of
from samtailor.compare.run_folder import RunFolder

METHODS = ("sam", "sam-f", "plm", "plm-pmm")


def build(runs: Sequence[RunFolder], *, objects: int, seed: int) -> np.ndarray:
    """The sheet, uint8 RGB; needs a run with all four methods."""
    run = runs[0]
    return methods_sheet(run, run.of_method(*METHODS), targets_of(run, objects, seed), draw_note(seed))


__all__ = ["build"]
