"""Bytes that a stranger sent, to an image. Size and kind are checked before a pixel is decoded."""

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
"""Pillow's names of what is accepted: no format that runs other programs or fetches other files."""

_log = logging.getLogger("samtailor.serve")


def read(data: bytes, limits: Limits, name: str = "the image") -> np.ndarray:
    """uint8 RGB (height, width, 3), EXIF rotation applied.

    Raises:
        TooLarge: more bytes or pixels than allowed, told by the header: nothing was decoded.
        Unreadable: not an image, broken, cut off.
    """
    if len(data) > limits.bytes:
        raise TooLarge(f"{name}: {len(data):,} bytes; at most {limits.bytes:,} are taken.")
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
        raise TooLarge(f"{name}: far more pixels than the {limits.pixels:,} that are taken.") from error
    except Exception as error:  # a hostile file may make a decoder raise anything; none of it is our fault
        _log.info("%s cannot be read: %r", name, error)
        raise Unreadable(f"{name}: not an image that can be read. Expected {', '.join(FORMATS)}.") from error


def _check(width: int, height: int, limits: Limits, name: str) -> None:
    if width * height > limits.pixels:
        raise TooLarge(
            f"{name}: {width}x{height} px are {width * height:,} pixels; at most {limits.pixels:,} are taken."
        )


def identity(image: np.ndarray) -> str:
    """The id of an image: 40 hexadecimal digits of the SHA-256 of shape and pixels."""
    return of_pixels(image)[:40]


__all__ = ["FORMATS", "identity", "read"]
