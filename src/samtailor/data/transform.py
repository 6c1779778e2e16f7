"""Transform images, prompts and masks to the model frame and back. The only module that resizes, pads or normalizes.

SAM 1 resizes the longest side to `size` (Pillow bilinear on uint8, antialiased) and pads right and bottom with zeros
after normalization, so that the padding is the mean color. SAM 2 resizes to a square without keeping the aspect ratio.
Mask logits are upsampled bilinearly (align_corners=False), cropped and resized to the image. They are thresholded at 0
last, since thresholding before resizing breaks thin objects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from samtailor.errors import InputError
from samtailor.structures import Prompts

if TYPE_CHECKING:
    from samtailor.bases import Base


class Normalization(Protocol):
    """Mean and standard deviation of the channels, RGB, on the scale 0 to 255; a `Base` has them."""

    @property
    def mean(self) -> Sequence[float]:
        """Mean of each channel."""
        ...

    @property
    def std(self) -> Sequence[float]:
        """Standard deviation of each channel."""
        ...


@dataclass(frozen=True)
class Frame:
    """Geometry between one image and the model frame.

    Args:
        height, width: image size, in pixels.
        size: side of the model frame, in pixels.
        squash: resize without keeping the aspect ratio (SAM 2) instead of padding (SAM 1).
        low_res: side of the low-resolution logits, in cells.
    """

    height: int
    width: int
    size: int
    squash: bool
    low_res: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise InputError(f"An image must have at least one pixel, got {self.height}x{self.width}.")

    @classmethod
    def of(cls, base: Base, height: int, width: int) -> Frame:
        """Frame of an image for a base model."""
        return cls(height, width, base.size, base.squash, base.low_res)

    @property
    def inner(self) -> tuple[int, int]:
        """(height, width) of the image within the model frame; the rest at the right and bottom is padding."""
        if self.squash:
            return self.size, self.size
        scale = self.size / max(self.height, self.width)
        return max(1, int(self.height * scale + 0.5)), max(1, int(self.width * scale + 0.5))

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y) factors from image pixels to model pixels."""
        height, width = self.inner
        return width / self.width, height / self.height

    def image(self, image: np.ndarray, base: Normalization) -> Tensor:
        """Normalize an image: uint8 RGB (height, width, 3) to float32 (3, size, size)."""
        if image.dtype != np.uint8 or image.shape != (self.height, self.width, 3):
            raise InputError(
                f"An image must be uint8 RGB of shape ({self.height}, {self.width}, 3), "
                f"got {image.dtype} {image.shape}."
            )
        height, width = self.inner
        resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        tensor = torch.from_numpy(resized.astype(np.float32)).permute(2, 0, 1)
        mean, std = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (base.mean, base.std))
        return F.pad((tensor - mean) / std, (0, self.size - width, 0, self.size - height))

    def points(self, points: Tensor | np.ndarray) -> Tensor:
        """Image points (..., 2), x then y, to the model frame, float32; SAM itself adds half a pixel."""
        return torch.as_tensor(points, dtype=torch.float32) * torch.tensor(self.scale)

    def boxes(self, boxes: Tensor | np.ndarray) -> Tensor:
        """Image boxes (..., 4), x0 y0 x1 y1, to the model frame, float32."""
        return torch.as_tensor(boxes, dtype=torch.float32) * torch.tensor(self.scale * 2)

    def prompts(self, prompts: Prompts) -> Prompts:
        """Prompts from the image frame to the model frame; mask prompts are already in the model frame.

        Raises:
            InputError: the prompts were made for an image of another size.
        """
        if prompts.frame != (self.height, self.width):
            raise InputError(
                f"The prompts were made for an image of size {prompts.frame} (height, width), but the image is "
                f"{self.height}x{self.width}."
            )
        points = None if prompts.points is None else self.points(prompts.points)
        boxes = None if prompts.boxes is None else self.boxes(prompts.boxes)
        return replace(prompts, points=points, boxes=boxes, frame=(self.size, self.size))

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Boolean mask (height, width) to the model frame (size, size); nearest neighbor, False on the padding."""
        height, width = self.inner
        out = np.zeros((self.size, self.size), bool)
        rows = np.minimum(((np.arange(height) + 0.5) * self.height / height).astype(int), self.height - 1)
        cols = np.minimum(((np.arange(width) + 0.5) * self.width / width).astype(int), self.width - 1)
        out[:height, :width] = mask[rows[:, None], cols[None, :]]
        return out

    def target(self, mask: np.ndarray) -> Tensor:
        """Boolean mask (height, width) to its coverage of the low-resolution cells, float32 (low_res, low_res) in [0,
        1].

        With coverage instead of nearest sampling, objects smaller than a cell contribute to the loss.
        """
        return coverage(self.mask(mask), self.low_res)

    def valid(self) -> Tensor:
        """bool (low_res, low_res): False on cells that lie entirely in the padding."""
        height, width = self.inner
        rows, columns = (-(-side * self.low_res // self.size) for side in (height, width))
        valid = torch.zeros(self.low_res, self.low_res, dtype=torch.bool)
        valid[:rows, :columns] = True
        return valid

    def logits(self, logits: Tensor) -> Tensor:
        """Upsample logits (N, M, low_res, low_res) to the image, (N, M, height, width). Threshold the result at 0."""
        full = F.interpolate(logits.float(), (self.size, self.size), mode="bilinear", align_corners=False)
        height, width = self.inner
        full = full[..., :height, :width]
        return F.interpolate(full, (self.height, self.width), mode="bilinear", align_corners=False)


def coverage(mask: np.ndarray, cells: int) -> Tensor:
    """Share of each cell that is True: bool (S, S) to float32 (cells, cells)."""
    parts = cells // math.gcd(mask.shape[0], cells)
    if parts > 1:  # a cell of SAM 3 has 3.5 pixels: pixels are divided until cells hold whole parts
        mask = mask.repeat(parts, axis=0).repeat(parts, axis=1)
    side = mask.shape[0] // cells
    return torch.from_numpy(mask.reshape(cells, side, cells, side).mean(axis=(1, 3), dtype=np.float32))
