"""Check and convert the inputs of a predictor: an image, clicks, a box, an earlier mask.

Every invalid input raises an `InputError` that gives the expected and the actual value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from samtailor.data.image import read_image
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.structures import Prompts

CHANNELS = ("RGB", "BGR")
"""Channel orders that an array may have."""


def as_image(image: np.ndarray | Image.Image | str | Path, image_format: str = "RGB") -> np.ndarray:
    """Convert an image to uint8 RGB (height, width, 3).

    Args:
        image: array, Pillow image or path, see `Predictor.set_image`.
        image_format: channel order of an array, "RGB" or "BGR"; ignored for Pillow images and files.

    Raises:
        InputError: another type, shape, dtype or format.
        DataError: a file that is not an image.
    """
    if image_format not in CHANNELS:
        raise InputError(f"image_format must be one of {', '.join(CHANNELS)}, got {image_format!r}.")
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        return _from_pillow(image)
    if not isinstance(image, np.ndarray):
        raise InputError(f"An image must be an array, a Pillow image or a path, got {type(image).__name__}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        hint = " Floats in 0..1: multiply by 255 and convert." if image.dtype.kind == "f" else ""
        hint += " Channels first: transpose(1, 2, 0)." if image.ndim == 3 and image.shape[0] == 3 else ""
        raise InputError(
            f"An image must be uint8 RGB of shape (height, width, 3), got {image.dtype} {image.shape}.{hint} "
            "Gray or transparent images are converted when given as a path or Pillow image."
        )
    return np.ascontiguousarray(image if image_format == "RGB" else image[..., ::-1])


def _from_pillow(image: Image.Image) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def click_tensors(points: Any, labels: Any, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Check the clicks of one prompt and convert them to tensors.

    Args:
        points: (K, 2), x then y, pixels of the image.
        labels: (K,) 1 or 0; None: all 1.
        size: (height, width) of the image.

    Returns:
        points float32 (1, 1, K, 2) and labels int64 (1, 1, K).
    """
    points = _numbers("point_coords", points)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise InputError(f"point_coords must have shape (K, 2), x then y in pixels, got {points.shape}.")
    height, width = size
    outside = (points < 0).any(1) | (points[:, 0] >= width) | (points[:, 1] >= height)
    if outside.any():
        x, y = points[outside][0]
        raise InputError(
            f"The click ({x:g}, {y:g}) lies outside the image of {width}x{height} px (width x height). "
            "Clicks are (x, y) in pixels of the image."
        )
    labels = np.ones(len(points)) if labels is None else _numbers("point_labels", labels)
    if labels.shape != (len(points),) or not np.isin(labels, (0, 1)).all():
        raise InputError(
            f"point_labels must be {len(points)} numbers, 1 for the object and 0 for the background, "
            f"got {labels.tolist()}."
        )
    return torch.from_numpy(points)[None, None], torch.from_numpy(labels.astype(np.int64))[None, None]


def box_tensor(box: Any, size: tuple[int, int]) -> Tensor:
    """Check one box (x0, y0, x1, y1) and convert it to float32 (1, 1, 4); `size` is (height, width)."""
    box = _numbers("box", box)
    if box.shape == (1, 4):  # Meta's predictor accepts this shape too
        box = box[0]
    if box.shape != (4,):
        raise InputError(f"box must be four numbers x0, y0, x1, y1, got shape {box.shape}.")
    height, width = size
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InputError(
            f"The box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) must be x0 < x1, y0 < y1 inside the image of "
            f"{width}x{height} px (width x height)."
        )
    return torch.from_numpy(box)[None, None]


def mask_tensor(mask: Any, side: int) -> Tensor:
    """Check the low-resolution logits of an earlier prediction and convert them to float32 (1, 1, side, side)."""
    mask = _numbers("mask_input", mask)
    if mask.shape not in ((side, side), (1, side, side)):
        raise InputError(
            f"mask_input must be one low-resolution logit map of shape (1, {side}, {side}) as predict returns, "
            f"got {mask.shape}."
        )
    return torch.from_numpy(mask.reshape(1, 1, side, side))


def _numbers(name: str, value: Any) -> np.ndarray:
    """Convert anything array-like to a finite float32 array."""
    value = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iufb":
            raise TypeError(array.dtype)
        array = np.ascontiguousarray(array, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers, got {value!r}.") from error
    if not np.isfinite(array).all():
        raise InputError(f"{name} must be finite numbers, got {array.tolist()}.")
    return array


def as_prompts(points: Any, labels: Any, box: Any, mask: Any, frame: Frame) -> Prompts:
    """Convert clicks (K, 2) with labels (K,), a box (4,) and mask logits (h, w) to `Prompts`; each may be None.

    Raises:
        InputError: wrong shapes or types, coordinates outside the image, labels without points.
    """
    size = (frame.height, frame.width)
    if points is None and labels is not None:
        raise InputError("point_labels were given without point_coords.")
    if points is not None:
        points, labels = click_tensors(points, labels, size)
    return Prompts(
        frame=size,
        points=points,
        labels=labels,
        boxes=None if box is None else box_tensor(box, size),
        masks=None if mask is None else mask_tensor(mask, frame.low_res),
    )


__all__ = ["CHANNELS", "as_image", "as_prompts", "box_tensor", "click_tensors", "mask_tensor"]
