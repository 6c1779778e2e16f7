"""SHA-256 of an image's pixels: the part of an embedding's key that is the image.

For image files a tiny file in the cache maps the digest of the file's bytes to the digest of its pixels, so that a
warm start does not decode images; within a process the file's stamp is enough.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from samtailor.cache.folder import CacheFolder, touch
from samtailor.data.image import read_image
from samtailor.data.strict_files import digest as of_file
from samtailor.errors import InputError
from samtailor.structures import Sample

ImageLike = Sample | np.ndarray
"""A sample, or uint8 RGB of shape (height, width, 3)."""

SCHEMA = "1"
"""Part of every key: raise it when decoding of images, views or the layout of an entry changes."""

MEMO = 65536
"""Entries that a memo in memory holds at most."""

_RACY_SECONDS = 2.0  # a file changed this recently may change again without its time stamp telling


class PixelDigests:
    """Digests of images, remembered for samples and image files.

    Args:
        folder: where the digests of image files are kept.
    """

    def __init__(self, folder: CacheFolder) -> None:
        self._folder = folder
        self._by_sample: WeakKeyDictionary[Sample, str] = WeakKeyDictionary()
        self._by_stat: OrderedDict[tuple, str] = OrderedDict()

    def of(self, image: ImageLike) -> str:
        """Hexadecimal digest of shape and pixels.

        Raises:
            InputError: not uint8 RGB. DataError: a file that cannot be read as an image.
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
            if known := self._by_stat.get(stamp):
                return known
            of_bytes = of_file(file)
        except OSError:
            return of_pixels(sample.image)  # reading it says in words what is wrong with the file
        digest = self._aliased(of_bytes, sample)
        if time.time() - max(stat.st_mtime, stat.st_ctime) > _RACY_SECONDS:
            remember(self._by_stat, stamp, digest)
        return digest

    def _aliased(self, of_bytes: str, sample: Sample) -> str:
        alias = self._folder.place(f"{SCHEMA}\0{of_bytes}", ".pixels")
        digest = _read_alias(alias)
        if digest is not None:
            touch(alias)
            return digest
        digest = of_pixels(sample.image)
        self._folder.write(alias, lambda temporary: temporary.write_text(digest, encoding="ascii"))
        return digest


def remember(memo: OrderedDict, key: object, value: object) -> None:
    """Put into a memo that forgets its oldest entry beyond `MEMO`."""
    memo[key] = value
    if len(memo) > MEMO:
        memo.popitem(last=False)


def _file(sample: Sample) -> Path | None:
    """The file whose plain decoding the sample's image is, if it is that."""
    read = sample.read_image
    plain = isinstance(read, partial) and read.func is read_image and len(read.args) == 1 and not read.keywords
    return Path(read.args[0]) if plain else None  # type: ignore[union-attr]


def of_pixels(image: np.ndarray) -> str:
    """Hexadecimal digest of shape and pixels of uint8 RGB (height, width, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"An image must be uint8 RGB of shape (height, width, 3), got {image.dtype} {image.shape}.")
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image))
    return digest.hexdigest()


def _read_alias(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if len(text) == 64 and set(text) <= set("0123456789abcdef") else None


__all__ = ["MEMO", "SCHEMA", "ImageLike", "PixelDigests", "of_pixels", "remember"]
