"""Masks in the model frame on disk: decoded, transformed and resized once, then kept packed.

One bit per pixel, compressed: a few kilobytes for a mask of 1024 x 1024 px, and unpacking it takes a fraction of the
time of decoding and resizing. An entry is named by the run lengths of the mask, its view and the frame, and holds a
SHA-256 of its content. Missing or damaged entries are computed again.
"""

from __future__ import annotations

import hashlib
import logging
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samtailor.cache.folder import CacheFolder, touch

_SCHEMA = "1"  # part of every key: increase it when the content of entries changes
_MAGIC = b"smask1"
_HEADER = struct.Struct("<6sII32s")  # magic, height, width, SHA-256 of the rest
_log = logging.getLogger("samtailor.cache.masks")


@dataclass(frozen=True)
class PackedMask:
    """A boolean mask, one bit per pixel, compressed.

    Args:
        size: (height, width), pixels; (0, 0) stands for no mask.
        bits: compressed rows of bits.
    """

    size: tuple[int, int]
    bits: bytes

    @classmethod
    def of(cls, mask: np.ndarray | None) -> PackedMask:
        """Pack a boolean mask (height, width); None for no mask."""
        if mask is None:
            return cls((0, 0), b"")
        height, width = mask.shape
        return cls((height, width), zlib.compress(np.packbits(mask).data, 1))

    @property
    def mask(self) -> np.ndarray:
        """Boolean mask (height, width). Unpacked on every access."""
        height, width = self.size
        packed = np.frombuffer(zlib.decompress(self.bits), np.uint8)
        return np.unpackbits(packed, count=height * width).reshape(height, width).astype(bool)

    def to_bytes(self) -> bytes:
        """The content of a file."""
        return _HEADER.pack(_MAGIC, *self.size, hashlib.sha256(self.bits).digest()) + self.bits

    @classmethod
    def from_bytes(cls, content: bytes) -> PackedMask:
        """The inverse of `to_bytes`.

        Raises:
            ValueError: damaged.
        """
        if len(content) < _HEADER.size:
            raise ValueError("it is too short")
        magic, height, width, digest = _HEADER.unpack_from(content)
        bits = content[_HEADER.size :]
        if magic != _MAGIC or digest != hashlib.sha256(bits).digest():
            raise ValueError("the digest differs")
        return cls((height, width), bits)


class MaskCache:
    """Packed masks in a folder; may be used by several threads and processes.

    Args:
        root: created when first written to. If it is not writable, masks are computed each time.
        max_bytes: the least recently used files are removed when the folder grows beyond this size.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._folder = CacheFolder(root, max_bytes)

    def get(self, rle: dict[str, Any], how: str, make: Callable[[], PackedMask]) -> PackedMask:
        """The mask that `make` returns, read from disk if it was made before.

        Args:
            rle: run lengths of the mask that it is made from.
            how: everything else that it depends on.
            make: computes it.
        """
        digest = hashlib.sha256(rle["counts"]).hexdigest()
        path = self._folder.place(f"mask-{_SCHEMA}\0{rle['size']}\0{digest}\0{how}", ".mask")
        if (kept := _read(path)) is not None:
            return kept
        made = make()
        content = made.to_bytes()
        self._folder.write(path, lambda temporary: temporary.write_bytes(content))
        return made


def _read(path: Path) -> PackedMask | None:
    try:
        kept = PackedMask.from_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("The cached mask %s is damaged (%s) and will be computed again.", path, error)
        return None
    touch(path)
    return kept


__all__ = ["MaskCache", "PackedMask"]
