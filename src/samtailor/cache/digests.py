"""SHA-256 of image pixels, which is the image's part of a cache key.

For image files, a small file in the cache maps the digest of the bytes to the digest of the pixels, so that a warm
start does not decode images. Within a process, the file's path, size and time stamps are sufficient.
"""

from __future__ import annotations

import hashlib
import time
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from samtailor.cache.bounded import BoundedCache
from samtailor.cache.folder import CacheFolder, touch
from samtailor.data.image import read_image
from samtailor.data.strict_files import digest as of_file
from samtailor.errors import InputError
from samtailor.structures import Sample

ImageLike = Sample | np.ndarray
"""A sample, or uint8 RGB of shape (height, width, 3)."""

SCHEMA = "1"
"""Part of every key: increase it when image decoding, views or the layout of entries change."""

MEMO = 65536
"""Largest number of entries of each in-memory cache."""

_RACY_SECONDS = 2.0  # a file changed this recently may change again within the resolution of its time stamp


class PixelDigests:
    """Digests of images, cached for samples and image files.

    Args:
        folder: keeps the digests of image files.
    """

    def __init__(self, folder: CacheFolder) -> None:
        self._folder = folder
        self._by_sample: WeakKeyDictionary[Sample, str] = WeakKeyDictionary()
        self._by_stat: BoundedCache[tuple, str] = BoundedCache(MEMO, lru=False, thread_safe=True)

    def of(self, image: ImageLike) -> str:
        """Hexadecimal digest of shape and pixels.

        Raises:
            InputError: not uint8 RGB.
            DataError: the file cannot be read as an image.
        """
        if isinstance(image, np.ndarray):
            return of_pixels(image)
        file = _file(image)
        if file is not None:
            return self._of_file(image, file)
        if image not in self._by_sample:
            self._by_sample[image] = of_pixels(image.image)
        return self._by_sample[image]

    def _of_file(self, sample: Sample, file: Path) -> str:
        try:
            stat = file.stat()
            stamp = (str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            if cached := self._by_stat.get(stamp):
                return cached
            of_bytes = of_file(file)
        except OSError:
            return of_pixels(sample.image)  # reading the image raises the error that describes the problem
        digest = self._aliased(of_bytes, sample)
        if time.time() - max(stat.st_mtime, stat.st_ctime) > _RACY_SECONDS:
            self._by_stat.put(stamp, digest)
        return digest

    def _aliased(self, of_bytes: str, sample: Sample) -> str:
        alias = self._folder.place(f"{SCHEMA}\0{of_bytes}", ".pixels")
        digest = _read_alias(alias)
        if digest is not None:
            touch(alias)
            return digest
        digest = of_pixels(sample.image)
        self._folder.write(alias, lambda temporary: temporary.write_text(digest, encoding="ascii"), upload=False)
        return digest


def _file(sample: Sample) -> Path | None:
    """The image file of a sample that decodes it without further processing, else None."""
    read = sample.read_image
    if isinstance(read, partial) and read.func is read_image and len(read.args) == 1 and not read.keywords:
        return Path(read.args[0])
    return None


def of_pixels(image: np.ndarray) -> str:
    """Hexadecimal digest of shape and pixels of uint8 RGB (height, width, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"An image must be uint8 RGB of shape (height, width, 3), got {image.dtype} {image.shape}.")
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _read_alias(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if len(text) == 64 and set(text) <= set("0123456789abcdef") else None


__all__ = ["MEMO", "SCHEMA", "ImageLike", "PixelDigests", "of_pixels"]
