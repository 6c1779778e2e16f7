"""Run lengths of a mask within its box, as CVAT writes them: row by row, background first.

`masks.shapes.from_row_runs` is the inverse.
"""

from __future__ import annotations

import numpy as np


def pack(mask: np.ndarray) -> tuple[list[int], tuple[int, int, int, int]]:
    """Run lengths in the tight box of a mask, and the box (left, top, width, height).

    Args:
        mask: bool (height, width), not empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    flat = mask[y0:y1, x0:x1].ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=False))
    return np.diff(np.concatenate([[0], starts, [flat.size]])).tolist(), (x0, y0, x1 - x0, y1 - y0)


__all__ = ["pack"]
