"""The 256 colors of PASCAL VOC, and index maps that were saved by color."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from samtailor.data.image import opened, read_colors, read_index


def palette() -> np.ndarray:
    """Colors of PASCAL VOC: uint8 (256, 3). The bits of an index are spread over the channels, low bits first."""
    colors = np.zeros((256, 3), np.uint8)
    for shift in range(8):
        for channel in range(3):
            colors[:, channel] |= (((np.arange(256) >> (3 * shift + channel)) & 1) << (7 - shift)).astype(np.uint8)
    return colors


def packed_palette() -> list[int]:
    """The colors as numbers, 65536 * red + 256 * green + blue, by index."""
    return (palette().astype(np.int32) @ np.array([65536, 256, 1], np.int32)).tolist()


def read_voc_index(path: Path) -> np.ndarray:
    """Read an index map (height, width) as `read_index` does; a map in RGB may hold the colors of VOC instead.

    Raises:
        DataError: see `read_index`.
    """
    with opened(path) as image:
        colored = image.mode in ("RGB", "RGBA")
    if colored:
        colors, (known, indices) = read_colors(path), _by_color()
        place = np.minimum(np.searchsorted(known, colors), len(known) - 1)
        if (known[place] == colors).all():
            return indices[place]
    return read_index(path)


@cache
def _by_color() -> tuple[np.ndarray, np.ndarray]:
    """The colors in order, and the index of each."""
    colors = np.array(packed_palette(), np.int32)
    order = np.argsort(colors)
    return colors[order], order.astype(np.uint8)


__all__ = ["packed_palette", "palette", "read_voc_index"]
