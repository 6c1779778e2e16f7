"""Read image and mask files. The only module that handles file formats and color modes.

Images are returned as uint8 RGB with the EXIF rotation applied:
* transparency is composited over white, as viewers do;
* grayscale, palette, 1-bit, CMYK and other color modes are converted;
* more than 8 bits per channel are scaled by the smallest of 8, 10, 12, 14, 16, 24, 32 bits that holds the largest value
  (so that 12-bit data in a 16-bit file keeps its brightness);
* floats in [0, 1] are scaled by 255, other floats are stretched from minimum to maximum.

Color images with more than 8 bits per channel are decoded by OpenCV (`deep_image`). HEIC needs the extra `heic`. Of a
file with several pages, the first is read, with a notice.

Unreadable files raise a `DataError` with the file name, whatever error Pillow raised.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from samtailor.data.account import count, leave_out
from samtailor.data.deep_image import decode, eight_bits, is_deep
from samtailor.data.mask_values import inspect, threshold
from samtailor.data.notices import notice
from samtailor.data.opened_image import (
    HEIC,
    PAGED,
    SUFFIXES,
    Header,
    allow_pixels,
    decode_header,
    header,
    opened,
    orientation_of,
    pages,
)
from samtailor.data.writing import replacing, write_json, write_png
from samtailor.errors import DataError

_LOSSY = ("JPEG", "MPO", "WEBP")
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path) -> np.ndarray:
    """Read an image file as uint8 RGB (height, width, 3), EXIF rotation applied.

    Raises:
        DataError: the file is missing, damaged, not an image, or exceeds Pillow's limit of pixels.
    """
    with opened(path) as image:
        return _rgb(image)


def decode_image(data: bytes, name: str, frame: int = 0) -> np.ndarray:
    """Like `read_image`, from the bytes of an image file.

    Args:
        data: content of the file.
        name: for error messages.
        frame: position of the page that is read, from 0.
    """
    with opened(name, io.BytesIO(data)) as image:
        if frame:
            image.seek(frame)
        return _rgb(image, frame)


def read_thumbnail(path: Path, side: int) -> np.ndarray:
    """Gray thumbnail for fingerprints: float32 (side, side) in [0, 255], aspect ratio ignored, EXIF rotation applied.

    JPEG files are decoded at low resolution.
    """
    with opened(path) as image:
        image.draft("L", (side * 4, side * 4))
        turn = orientation_of(image)
        plain = image.mode in ("L", "RGB") and not is_deep(image)
        flat = image if plain else Image.fromarray(_flat(image))
        small = flat.convert("L").resize((side, side), Image.Resampling.BOX)
        return np.asarray(_turned(small, turn), np.float32)


def read_mask(path: Path) -> np.ndarray:
    """Read a binary mask file as a boolean mask (height, width).

    Foreground is every pixel that is not black: values 0/1 or 0/255, colors, palette images by their colors. In an
    image of a single color with transparency, opaque pixels are foreground. Masks with soft edges or gradients, and
    lossy files (JPEG, WebP), are thresholded at half their range. 8-bit TIFF files whose zero is white (the inverting
    lookup table of ImageJ) are read as stored.
    """
    with opened(path) as image:
        lossy = image.format in _LOSSY
        turn = orientation_of(image)
        return _turned_array(_object(image, lossy, path), turn)


def decode_mask(data: bytes, name: str) -> np.ndarray:
    """Like `read_mask`, from the bytes of an image file; `name` is for error messages."""
    with opened(name, io.BytesIO(data)) as image:
        return _object(image, image.format in _LOSSY, name)


def read_index(path: Path) -> np.ndarray:
    """Read an index map of classes or instances: integers (height, width) as stored (palette indices, 8 or 16 bit).

    Raises:
        DataError: a color image (its channels differ), floats, or lossy compression.
    """
    with opened(path) as image:
        if image.format in _LOSSY and image.format != "WEBP":
            raise DataError(f"{path}: an index map must be stored losslessly (PNG), but this is {image.format}.")
        if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N", "RGB", "RGBA", "LA"):
            raise DataError(f"{path}: an index map has one integer per pixel, but the color mode is {image.mode!r}.")
        _say_pages(image, path)
        values = np.asarray(_turned(image, orientation_of(image)))
        if _is_inverted(image):
            values = 255 - values
        if values.ndim == 3:
            colors = values if image.mode == "RGB" else values[..., :-1]
            if (colors != colors[..., :1]).any():
                raise DataError(
                    f"{path}: an index map has one integer per pixel, but this is a color image. Convert it to indices."
                )
            values = colors[..., 0]
        return values.astype(np.uint8) if values.dtype == bool else values


def read_colors(path: Path) -> np.ndarray:
    """Read a class map by its colors: int32 (height, width), 65536 * red + 256 * green + blue; transparent is 0.

    Raises:
        DataError: lossy compression, or more than 8 bits per channel.
    """
    with opened(path) as image:
        if image.format in _LOSSY and image.format != "WEBP":
            raise DataError(f"{path}: a color map must be stored losslessly (PNG), but this is {image.format}.")
        if image.mode.startswith(("I", "F")):
            raise DataError(f"{path}: a color map has 8 bits per channel, but the color mode is {image.mode!r}.")
        turned = _turned(image, orientation_of(image))
        values = np.asarray(turned.convert("RGBA"))
        packed = values[..., :3].astype(np.int32) @ np.array([65536, 256, 1], np.int32)
        return np.where(values[..., 3] > 0, packed, 0)


def resize_nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an array (height, width) to `size` (height, width) by nearest neighbor with aligned pixel centers."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.intp), old - 1)
        for new, old in zip(size, values.shape, strict=True)
    )
    return values[rows[:, None], columns]


def turn(values: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation (1 to 8) to an array (height, width) in the frame of the stored image."""
    if orientation == 1:
        return values
    steps = {2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (1, 2), 6: (3, 0), 7: (3, 2), 8: (1, 0)}
    rotations, flip = steps[orientation]
    turned = np.rot90(values, rotations)
    if flip == 2:  # transpose and transverse: a rotation, then top to bottom
        return turned[::-1]
    return turned[:, ::-1] if flip else turned


def _say_pages(image: Image.Image, name: Path | str) -> None:
    """State that only the first page of a mask or map is read."""
    number = int(getattr(image, "n_frames", 1))
    if number > 1:
        count(number - 1)
        leave_out("further page", f"{name}: the file has {number} pages, of which the first is read.", number - 1)


def _is_inverted(image: Image.Image) -> bool:
    """Whether the zero of an 8-bit gray TIFF is white; Pillow inverts it while decoding."""
    return image.format == "TIFF" and image.mode == "L" and getattr(image, "tag_v2", {}).get(262) == 0


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURN[orientation]) if orientation in _TURN else image


def _turned_array(values: np.ndarray, orientation: int) -> np.ndarray:
    return np.ascontiguousarray(turn(values, orientation))


def _rgb(image: Image.Image, frame: int = 0) -> np.ndarray:
    turn = orientation_of(image)
    if image.mode != "RGB" or is_deep(image):
        image = Image.fromarray(_flat(image, frame))
    return np.ascontiguousarray(np.asarray(_turned(image, turn)))


def _flat(image: Image.Image, frame: int = 0) -> np.ndarray:
    """Convert any color mode to uint8 RGB; `frame` is the present page."""
    stream = getattr(image, "fp", None)
    if is_deep(image) and stream is not None:
        stream.seek(0)
        values = decode(stream.read(), frame)
        if values is not None:
            return values
    if image.mode.startswith(("I", "F")):
        gray = eight_bits(np.asarray(image))
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _object(image: Image.Image, lossy: bool, name: Path | str) -> np.ndarray:
    _say_pages(image, name)
    values = mask_values(image)
    if lossy and values.max(initial=0) > 127:
        return values > 127
    seen = inspect(values)
    if seen.kind == "soft":
        notice("soft mask", f"{name}: the mask has soft edges or levels; values of half the range are foreground.")
    elif seen.kind == "numbers":
        few = f"{name}: the mask has {seen.levels} values above 0"
        notice("gray mask", f"{few}, which are all foreground.")
    return threshold(values, seen)


def read_levels(path: Path) -> np.ndarray:
    """Values of a mask file before they are thresholded (see `read_mask`): (height, width), 0 is background."""
    with opened(path) as image:
        return _turned_array(mask_values(image), orientation_of(image))


def mask_values(image: Image.Image) -> np.ndarray:
    """One value for each pixel of an opened mask; bool where only colors or transparency decide."""
    mode = image.mode
    if mode == "P" and "transparency" not in image.info:
        values = np.asarray(image)
        colored = np.asarray(image.convert("RGB")).max(axis=2) > 0
        return colored if colored.any() else values > 0  # an all-black palette: use the indices
    if mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        values = np.asarray(image.convert("RGBA"))
        opaque = values[..., 3] > 0
        colors = values[..., :3]
        one_color = (colors == colors[:1, :1]).all() and not opaque.all()
        return opaque if one_color else np.where(opaque, colors.max(axis=2), 0)
    if mode not in ("1", "L", "I", "F") and not mode.startswith("I;16"):
        image = image.convert("RGB")
    values = np.asarray(image)
    if values.ndim == 3:
        return values.max(axis=2)
    if _is_inverted(image):
        notice("inverted mask", "8-bit TIFF masks whose zero is white (ImageJ) are read as stored: 255 is foreground.")
        return 255 - values
    return values


__all__ = [
    "HEIC",
    "PAGED",
    "SUFFIXES",
    "Header",
    "allow_pixels",
    "decode_header",
    "decode_image",
    "decode_mask",
    "header",
    "mask_values",
    "pages",
    "read_colors",
    "read_image",
    "read_index",
    "read_levels",
    "read_mask",
    "read_thumbnail",
    "replacing",
    "resize_nearest",
    "turn",
    "write_json",
    "write_png",
]
