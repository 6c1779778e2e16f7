"""Open image files: formats, headers, pages, the limit of pixels. Errors of Pillow become `DataError`."""

from __future__ import annotations

import importlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from samtailor.data.deep_image import decode, is_deep, is_tiff
from samtailor.errors import DataError

HEIC = frozenset({".heic", ".heif", ".hif"})
"""Suffixes of images that need pillow-heif."""
SUFFIXES = HEIC | {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jfif", ".ppm", ".pgm", ".avif"}
"""Suffixes of image files (compared in lower case)."""
PAGED = frozenset({".tif", ".tiff", ".gif", ".webp", ".png", ".avif"})
"""Suffixes of files that may have several pages or frames."""
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, TypeError, KeyError, IndexError)


@dataclass(frozen=True)
class Header:
    """Properties of an image file that are available without decoding pixels.

    Args:
        size: (height, width) in the image frame, after the EXIF rotation.
        stored: (height, width) as stored, before the EXIF rotation.
        orientation: EXIF orientation, 1 (upright) to 8.
        mode: Pillow's color mode ("RGB", "L", "I;16", ...); with ";16" if a color image has 16 bits per channel.
        format: Pillow's name of the file format ("JPEG", "PNG", ...).
    """

    size: tuple[int, int]
    stored: tuple[int, int]
    orientation: int
    mode: str
    format: str


def header(path: Path) -> Header:
    """Size, rotation and mode of an image file."""
    with opened(path) as image:
        return _header(image)


def decode_header(data: bytes, name: str) -> Header:
    """Like `header`, from the bytes of an image file; `name` is for error messages."""
    with opened(name, io.BytesIO(data)) as image:
        return _header(image)


def _header(image: Image.Image) -> Header:
    stored, turn = (image.height, image.width), orientation_of(image)
    size = (image.width, image.height) if turn >= 5 else stored
    mode = f"{image.mode};16" if is_deep(image) or image.info.get("deep") else image.mode
    return Header(size, stored, turn, mode, image.format or "")


def allow_pixels(number: int) -> None:
    """Set the largest number of pixels of an image, for the whole process. The default is that of Pillow."""
    Image.MAX_IMAGE_PIXELS = (number + 1) // 2  # Pillow raises above twice this number, and warns above it
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def pages(path: Path) -> int:
    """Number of pages of a file (frames of an animation). The first is the one that is read."""
    if path.suffix.lower() not in PAGED:
        return 1
    with opened(path) as image:
        return int(getattr(image, "n_frames", 1))


def page_headers(path: Path) -> list[tuple[int, Header]]:
    """Position in the file, from 0, and header of each page of a TIFF file; of other files of the first frame alone.

    Pages that are a smaller copy or a mask of another page (bits 0 and 2 of the tag NewSubfileType) are left out.
    """
    with opened(path) as image:
        number = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
        headers = []
        for frame in range(number):
            if number > 1:
                image.seek(frame)
            if not (frame and getattr(image, "tag_v2", {}).get(254, 0) & 5):
                headers.append((frame, _header(image)))
        return headers


@contextmanager
def opened(name: Path | str, stream: BinaryIO | None = None) -> Iterator[Image.Image]:
    """An opened image file, or one in memory (`stream`; `name` is for messages).

    Raises:
        DataError: the file is missing, no regular file, damaged, not an image, or exceeds the limit of pixels.
    """
    suffix = Path(name).suffix.lower()
    if suffix in HEIC:
        register_heic(name)
    if stream is None and not Path(name).is_file() and Path(name).exists() and not Path(name).is_dir():
        raise DataError(f"{name} is not a regular file.")  # a named pipe would wait forever
    try:
        try:
            opened: Image.Image = Image.open(stream if stream is not None else name)
        except Image.UnidentifiedImageError:
            if (deep := _unknown_to_pillow(name, stream)) is None:
                raise
            opened = deep
        with opened as image:
            yield image
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"There is no file {name}.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{name}: the image exceeds the pixel limit against decompression bombs ({error}). "
            "Resize it, or raise the limit if you trust the file: --max-pixels N on the command line, "
            "samtailor.data.image.allow_pixels(N) from Python."
        ) from error
    except Image.UnidentifiedImageError as error:
        raise DataError(f"{name}: not an image file that Pillow supports, or damaged.") from error
    except MemoryError as error:
        raise DataError(f"{name}: there is not enough memory to read the image. The file may be damaged.") from error
    except _BROKEN as error:
        raise DataError(f"{name}: the image cannot be read ({error}). The file may be damaged or truncated.") from error


def register_heic(name: Path | str) -> None:
    """Make Pillow read HEIC files.

    Args:
        name: of the file, for the message.

    Raises:
        DataError: pillow-heif is not installed.
    """
    try:
        register_heif_opener = importlib.import_module("pillow_heif").register_heif_opener
    except ImportError as error:
        raise DataError(
            f"{name}: HEIC images need the package pillow-heif. Install it with: pip install 'samtailor[heic]', or "
            "convert the images to JPEG."
        ) from error
    register_heif_opener()


def _unknown_to_pillow(name: Path | str, stream: BinaryIO | None) -> Image.Image | None:
    """A TIFF file that Pillow does not know (float colors), decoded by OpenCV; None if it cannot either."""
    if stream is not None:
        stream.seek(0)
        data = stream.read()
    else:
        with open(name, "rb") as file:
            data = file.read(4)
            data += file.read() if is_tiff(data) else b""
    values = decode(data) if is_tiff(data) else None
    if values is None:
        return None
    image = Image.fromarray(values)
    image.format, image.info["deep"] = "TIFF", True
    return image


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) to 8; 1 for other values."""
    # getexif of the base class: the one of PNG would decode the whole image to read chunks after the pixels
    turn = Image.Image.getexif(image).get(0x0112, 1)
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


__all__ = [
    "HEIC",
    "PAGED",
    "SUFFIXES",
    "Header",
    "allow_pixels",
    "decode_header",
    "header",
    "opened",
    "orientation_of",
    "page_headers",
    "pages",
    "register_heic",
]
