"""How deep inside a mask each pixel lies: where a centre click goes, how clicks are drawn, how far contours are shaken.

SAM (arXiv 2304.02643, 7.1 and appendix D.1): the first click is the point farthest from the object boundary. Not the
centroid, which may lie outside (a ring, hair around a face), and not the centre of the box.
"""

from __future__ import annotations

import cv2
import numpy as np

from samtailor.errors import InputError


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last column and row that the mask touches: (x0, y0, x1, y1), all inclusive, pixel indices.

    Raises:
        InputError: the mask is not of shape (height, width), or is empty.
    """
    if mask.ndim != 2:
        raise InputError(f"A mask must have shape (height, width), got {mask.shape}.")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise InputError("A prompt cannot be taken from an empty mask; leave empty masks out before.")
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def distance(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Exact Euclidean distance to the nearest pixel outside, within the mask's box.

    The mask is padded with a ring of zeros first: the image's border counts as boundary, as in SAM's protocol.
    Equal masks give equal distances, bit for bit, and equal distances are equal floats (depths up to 1,000 px).

    Returns:
        (distances, (x0, y0)): float32 (box height, box width), 0 outside the mask, and the box's first column and row.
    """
    x0, y0, x1, y1 = box(mask)
    inside = np.pad(mask[y0 : y1 + 1, x0 : x1 + 1].astype(np.uint8), 1)
    found = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    # the last bits of cv2's depend on where in memory the mask lies; squared, the distances are whole numbers
    return np.sqrt(np.rint(np.square(found, dtype=np.float64))).astype(np.float32), (x0, y0)


def centre(mask: np.ndarray) -> tuple[int, int]:
    """Pixel (x, y) of the largest interior distance; of several the first in raster order, so never by chance."""
    distances, (x0, y0) = distance(mask)
    row, column = np.unravel_index(np.argmax(distances), distances.shape)
    return x0 + int(column), y0 + int(row)


def radius(mask: np.ndarray) -> float:
    """Largest interior distance, pixels."""
    return float(distance(mask)[0].max())
