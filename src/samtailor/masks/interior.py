"""Distance of the pixels of a mask from its boundary: for center clicks, sampled clicks and contour jitter.

SAM (arXiv 2304.02643, 7.1 and appendix D.1): the first click is the point farthest from the object boundary. The
centroid and the center of the box may lie outside the object (a ring, hair around a face).
"""

from __future__ import annotations

import cv2
import numpy as np

from samtailor.errors import InputError


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Tight box of a mask: first and last column and row (x0, y0, x1, y1), pixel indices, all inclusive.

    Raises:
        InputError: the mask is not of shape (height, width), or is empty.
    """
    if mask.ndim != 2:
        raise InputError(f"A mask must have shape (height, width), got {mask.shape}.")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise InputError("An empty mask has no box and no interior. Leave empty masks out.")
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def distance(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Exact Euclidean distance of each mask pixel to the nearest pixel outside, in pixels.

    The image border counts as boundary, as in SAM's protocol. Results are reproducible: equal masks give bit-identical
    distances, and equal distances are equal floats (up to 1,000 px).

    Returns:
        (distances, (x0, y0)): float32 (box height, box width) over the tight box, 0 outside the mask; first column and
        row of the box.
    """
    x0, y0, x1, y1 = box(mask)
    inside = np.pad(mask[y0 : y1 + 1, x0 : x1 + 1].astype(np.uint8), 1)
    distances = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    # squared distances are whole numbers; rounding removes cv2's last-bit noise, which depends on memory alignment
    return np.sqrt(np.rint(np.square(distances, dtype=np.float64))).astype(np.float32), (x0, y0)


def center(mask: np.ndarray) -> tuple[int, int]:
    """Pixel (x, y) farthest from the boundary; among equals the first in raster order."""
    distances, (x0, y0) = distance(mask)
    row, column = np.unravel_index(np.argmax(distances), distances.shape)
    return x0 + int(column), y0 + int(row)


def radius(mask: np.ndarray) -> float:
    """Largest interior distance, in pixels."""
    return float(distance(mask)[0].max())
