"""Decode uploaded images. Size and format are checked before any pixel is decoded."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from samtailor.cache.digests import of_pixels
from samtailor.data.image import HEIC, decode_image
from samtailor.data.opened_image import register_heic
from samtailor.errors import DataError
from samtailor.serve.limits import Limits
from samtailor.serve.refusals import Refused, TooLarge, Unreadable

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Accepted formats, as Pillow names them: none that runs other programs or reads other files."""
FILE_FORMATS = (*FORMATS, "HEIF", "AVIF")
"""Accepted formats of files on this machine. HEIF needs pillow-heif."""

_log = logging.getLogger("samtailor.serve")


def read(
    data: bytes, limits: Limits, name: str = "the image", *, frame: int = 0, formats: tuple[str, ...] = FORMATS
) -> np.ndarray:
    """Decode an image to uint8 RGB (height, width, 3), EXIF rotation applied.

    Args:
        data: content of a file.
        limits: on bytes and pixels.
        name: for error messages.
        frame: position of the page that is read, from 0.
        formats: accepted formats.

    Raises:
        TooLarge: more bytes or pixels than allowed, according to the header.
        Unreadable: not an image, damaged, or truncated.
    """
    if len(data) > limits.bytes:
        raise TooLarge(f"{name}: {len(data):,} bytes; the limit is {limits.bytes:,}.")
    try:
        with Image.open(io.BytesIO(data), formats=_readable(name, formats)) as image:
            if frame:
                image.seek(frame)
            width, height = image.size
        _check(width, height, limits, name)
        return decode_image(data, name, frame)
    except Refused:
        raise
    except DataError as error:
        raise Unreadable(str(error)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{name}: far more pixels than the limit of {limits.pixels:,}.") from error
    except Exception as error:  # a malicious file may make a decoder raise anything
        _log.info("%s cannot be read: %r", name, error)
        raise Unreadable(f"{name}: not a readable image. Expected {', '.join(formats)}.") from error


@contextmanager
def opened(path: Path, name: str) -> Iterator[Image.Image]:
    """An image file on this machine, in one of `FILE_FORMATS`. Raises the errors of Pillow.

    Args:
        path: of the file.
        name: for error messages.

    Raises:
        DataError: a HEIC file, and pillow-heif is not installed.
    """
    with Image.open(path, formats=_readable(name, FILE_FORMATS)) as image:
        yield image


def _readable(name: str, formats: tuple[str, ...]) -> tuple[str, ...]:
    """The formats that Pillow knows here. Raises DataError for a HEIC file without pillow-heif."""
    if "HEIF" in formats and Path(name).suffix.lower() in HEIC:
        register_heic(name)
    Image.init()
    return tuple(one for one in formats if one in Image.OPEN)


def _check(width: int, height: int, limits: Limits, name: str) -> None:
    if width * height > limits.pixels:
        raise TooLarge(f"{name}: {width}x{height} px are {width * height:,} pixels; the limit is {limits.pixels:,}.")


def identity(image: np.ndarray) -> str:
    """Id of an image: the first 40 hexadecimal digits of the SHA-256 of its shape and pixels."""
    return of_pixels(image)[:40]


__all__ = ["FILE_FORMATS", "FORMATS", "identity", "opened", "read"]
