"""Upsample only the window of an image that contains a mask.

Bilinear upsampling is linear in rows and columns separately, so that a window is two small matrix products. The result
equals that of `Frame.logits` up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.cache.bounded import BoundedCache
from samtailor.data.transform import Frame

_MAX_SIZES = 8  # sizes of images and tiles whose matrices are kept


@dataclass
class Windows:
    """Logits to masks in windows; keeps the matrices of the last few image sizes. One instance per thread."""

    _matrices: BoundedCache[tuple[Frame, int], tuple[Tensor, Tensor]] = field(
        default_factory=lambda: BoundedCache(_MAX_SIZES, lru=False)
    )

    def mask(self, low: Tensor, frame: Frame) -> tuple[np.ndarray, int, int]:
        """Cut logits at 0 at the size of the image.

        A pixel above 0 has a cell above 0 among its neighbors, so that nothing is lost beyond two cells.

        Args:
            low: (h, w) float32 low-resolution logits on the CPU.
            frame: geometry of the image.

        Returns:
            bool (rows, columns) of the window that contains the mask, and its first column x and row y in the image;
            an empty array at (0, 0) if no logit is above 0.
        """
        rows, columns = self._of(frame, low.shape[-1])
        above = (low > 0).numpy()
        if not above.any():
            return np.zeros((0, 0), bool), 0, 0
        (r0, r1), (c0, c1) = (_cells(np.flatnonzero(above.any(axis=axis)), len(above)) for axis in (1, 0))
        y0, y1 = _pixels(rows[:, r0:r1])
        x0, x1 = _pixels(columns[:, c0:c1])
        # cells outside the window contribute to its pixels too, so the products run over all cells
        window = rows[y0:y1] @ low @ columns[x0:x1].T
        return (window > 0).numpy(), x0, y0

    def _of(self, frame: Frame, cells: int) -> tuple[Tensor, Tensor]:
        """Matrices for rows and for columns; tiled inference has more cells than the base."""
        if (kept := self._matrices.get((frame, cells))) is not None:
            return kept
        (height, width), size = frame.inner, frame.size
        rows = _upsampling(cells, size, height, frame.height)
        return self._matrices.put((frame, cells), (rows, _upsampling(cells, size, width, frame.width)))


def _upsampling(cells: int, size: int, inner: int, length: int) -> Tensor:
    """One axis of `Frame.logits` as a (length, cells) matrix: to the model frame, cropped, to the size of the image."""
    eye = torch.eye(cells)[None, None]
    frame = F.interpolate(eye, (size, cells), mode="bilinear", align_corners=False)[:, :, :inner]
    return F.interpolate(frame, (length, cells), mode="bilinear", align_corners=False)[0, 0].contiguous()


def _cells(above: np.ndarray, count: int) -> tuple[int, int]:
    """First and last cell (exclusive) of the indices, with one more on either side."""
    return max(int(above[0]) - 1, 0), min(int(above[-1]) + 2, count)


def _pixels(matrix: Tensor) -> tuple[int, int]:
    """First and last pixel (exclusive) to which any of the cells contributes."""
    rows = torch.nonzero(matrix.any(dim=1))[:, 0]
    return (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)


__all__ = ["Windows"]
