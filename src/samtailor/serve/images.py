"""Decode uploaded images. Size and format are checked before any pixel is decoded."""

from __future__ import annotations

import io
import logging

import numpy as np
from PIL import Image

from samtailor.cache.digests import of_pixels
from samtailor.data.image import decode_image
from samtailor.errors import DataError
from samtailor.serve.limits import Limits
from samtailor.serve.refusals import Refused, TooLarge, Unreadable

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Accepted formats, as Pillow names them: none that runs other programs or reads other files."""

_log = logging.getLogger("samtailor.serve")


def read(data: bytes, limits: Limits, name: str = "the image") -> np.ndarray:
    """Decode an image to uint8 RGB (height, width, 3), EXIF rotation applied.

    Args:
        data: content of a file.
        limits: on bytes and pixels.
        name: for error messages.

    Raises:
        TooLarge: more bytes or pixels than allowed, according to the header.
        Unreadable: not an image, damaged, or truncated.
    """
    if len(data) > limits.bytes:
        raise TooLarge(f"{name}: {len(data):,} bytes; the limit is {limits.bytes:,}.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
        _check(width, height, limits, name)
        return decode_image(data, name)
    except Refused:
        raise
    except DataError as error:
        raise Unreadable(str(error)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{name}: far more pixels than the limit of {limits.pixels:,}.") from error
    except Exception as error:  # a malicious file may make a decoder raise anything
        _log.info("%s cannot be read: %r", name, error)
        raise Unreadable(f"{name}: not a readable image. Expected {', '.join(FORMATS)}.") from error


def _check(width: int, height: int, limits: Limits, name: str) -> None:
    if width * height > limits.pixels:
        raise TooLarge(f"{name}: {width}x{height} px are {width * height:,} pixels; the limit is {limits.pixels:,}.")


def identity(image: np.ndarray) -> str:
    """Id of an image: the first 40 hexadecimal digits of the SHA-256 of its shape and pixels."""
    return of_pixels(image)[:40]


__all__ = ["FORMATS", "identity", "read"]
