"""Color images with more than 8 bits per channel, which Pillow reduces to 8 bits or cannot open, by OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from PIL import Image

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_deep(image: Image.Image) -> bool:
    """Whether Pillow would reduce an opened file to 8 bits per channel. The pixels are not decoded."""
    if image.mode not in ("RGB", "RGBA", "LA", "RGBX"):
        return False
    for tile in getattr(image, "tile", ()):
        args = tile[3]
        raw = args if isinstance(args, str) else args[0] if args and isinstance(args[0], str) else ""
        if ";16" in raw:
            return True
    return False


def decode(data: bytes, frame: int = 0) -> np.ndarray | None:
    """Pixels of an image file as uint8 RGB (height, width, 3), without EXIF rotation; None if OpenCV cannot decode it.

    Integers are scaled by the smallest of 8, 10, 12, 14, 16, 24, 32 bits that holds the largest value of all channels;
    floats in [0, 1] by 255, others from minimum to maximum. Transparency is composited over white.

    Args:
        data: content of the file.
        frame: position of the page that is decoded, from 0.
    """
    try:
        with _quiet():
            values = _values(np.frombuffer(data, np.uint8), frame)
    except (cv2.error, MemoryError):
        return None
    if values is None or values.size == 0:
        return None
    if values.ndim == 2:
        return np.repeat(eight_bits(values)[..., None], 3, axis=2)
    if values.shape[2] not in (3, 4):
        return None
    colors = eight_bits(values[..., 2::-1])
    if values.shape[2] == 4:
        top = 1.0 if np.issubdtype(values.dtype, np.floating) else float(np.iinfo(values.dtype).max)
        alpha = np.clip(values[..., 3:].astype(np.float32) / top, 0, 1)
        colors = np.round(colors * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(colors)


def _values(data: np.ndarray, frame: int) -> np.ndarray | None:
    if frame == 0:
        return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    _, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED)
    return pages[frame] if frame < len(pages) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV from writing to the terminal what is wrong with a file; the caller reports it."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def is_tiff(data: bytes) -> bool:
    """Whether the bytes begin as those of a TIFF file."""
    return data[:4] in _TIFF


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Integers or floats of any range as uint8, see `decode`."""
    if np.issubdtype(values.dtype, np.floating):
        values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1:
            values = (values - low) / max(high - low, 1e-12)
        return np.round(values * 255).astype(np.uint8)
    values = np.maximum(values.astype(np.int64), 0)
    bits = next(bits for bits in (8, 10, 12, 14, 16, 24, 32) if values.max() < 1 << bits)
    return (values >> (bits - 8)).astype(np.uint8)


__all__ = ["decode", "eight_bits", "is_deep", "is_tiff"]
