"""Pixels of an image to the model frame and back. The only place that resizes, pads or normalizes.

SAM 1: the longest side becomes `size` (Pillow bilinear on uint8, antialiased), the rest is padded right and bottom
with zeros AFTER normalization, so that the padding is the mean color. SAM 2 squashes to the square.
Masks come back by bilinear interpolation of logits (align_corners=False), are cropped, resized to the image, and
only then cut at 0: thresholding before resizing would tear thin objects.
"""

from __future__ import annotations

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
        height, width: image size, pixels.
        size: side of the model frame, pixels.
        squash: ignore the aspect (SAM 2) instead of padding (SAM 1).
        low_res: side of the low-resolution logits, cells.
    """

    height: int
    width: int
    size: int
    squash: bool
    low_res: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise InputError(f"An image needs at least one pixel, got {self.height}x{self.width}.")

    @classmethod
    def of(cls, base: Base, height: int, width: int) -> Frame:
        """Frame of an image for a base model."""
        return cls(height, width, base.size, base.squash, base.low_res)

    @property
    def inner(self) -> tuple[int, int]:
        """(height, width) of the image inside the model frame; what is right and below is padding."""
        if self.squash:
            return self.size, self.size
        scale = self.size / max(self.height, self.width)
        return max(1, int(self.height * scale + 0.5)), max(1, int(self.width * scale + 0.5))

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y) factors from image to model pixels."""
        height, width = self.inner
        return width / self.width, height / self.height

    def image(self, image: np.ndarray, base: Normalization) -> Tensor:
        """uint8 RGB (height, width, 3) to a normalized float32 (3, size, size)."""
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
        """(..., 2) image points (x, y) to the model frame, float32; SAM adds its half pixel itself."""
        return torch.as_tensor(points, dtype=torch.float32) * torch.tensor(self.scale)

    def boxes(self, boxes: Tensor | np.ndarray) -> Tensor:
        """(..., 4) image boxes (x0, y0, x1, y1) to the model frame; each axis by its own factor."""
        return torch.as_tensor(boxes, dtype=torch.float32) * torch.tensor(self.scale * 2)

    def prompts(self, prompts: Prompts) -> Prompts:
        """Prompts of the image frame to the model frame; mask prompts are in the model frame already.

        Raises:
            InputError: the prompts belong to an image of another size.
        """
        if prompts.frame != (self.height, self.width):
            raise InputError(
                f"Prompts of a {prompts.frame} frame cannot be used on a {self.height}x{self.width} image; "
                "make them for this image."
            )
        points = None if prompts.points is None else self.points(prompts.points)
        boxes = None if prompts.boxes is None else self.boxes(prompts.boxes)
        return replace(prompts, points=points, boxes=boxes, frame=(self.size, self.size))

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Boolean mask (height, width) to the model frame (size, size), nearest neighbor, padding False."""
        height, width = self.inner
        out = np.zeros((self.size, self.size), bool)
        rows = np.minimum(((np.arange(height) + 0.5) * self.height / height).astype(int), self.height - 1)
        cols = np.minimum(((np.arange(width) + 0.5) * self.width / width).astype(int), self.width - 1)
        out[:height, :width] = mask[rows[:, None], cols[None, :]]
        return out

    def target(self, mask: np.ndarray) -> Tensor:
        """Boolean mask (height, width) to coverage (low_res, low_res), float32 in [0, 1].

        Coverage instead of nearest sampling: an object smaller than a cell does not vanish from the loss.
        """
        return coverage(self.mask(mask), self.low_res)

    def valid(self) -> Tensor:
        """bool (low_res, low_res): False on cells that lie wholly in the padding."""
        height, width = self.inner
        cell = self.size // self.low_res
        valid = torch.zeros(self.low_res, self.low_res, dtype=torch.bool)
        valid[: -(-height // cell), : -(-width // cell)] = True
        return valid

    def logits(self, logits: Tensor) -> Tensor:
        """(N, M, low_res, low_res) logits to (N, M, height, width) at the image's own size; threshold at 0 after."""
        full = F.interpolate(logits.float(), (self.size, self.size), mode="bilinear", align_corners=False)
        height, width = self.inner
        full = full[..., :height, :width]
        return F.interpolate(full, (self.height, self.width), mode="bilinear", align_corners=False)


def coverage(mask: np.ndarray, cells: int) -> Tensor:
    """Boolean (S, S) to float32 (cells, cells): share of each cell that is True. S must be a multiple of cells."""
    side = mask.shape[0] // cells
    return torch.from_numpy(mask.reshape(cells, side, cells, side).mean(axis=(1, 3), dtype=np.float32))
