"""Pixels of a picture to the model frame and back. The only place that resizes, pads or normalises.

SAM 1: the longest side becomes `size` (Pillow bilinear on uint8, antialiased), the rest is padded right and bottom
with zeros AFTER normalisation, so that the padding is the mean colour. SAM 2 squashes to the square.
Masks come back by bilinear interpolation of logits (align_corners=False), are cropped, resized to the picture, and
only then cut at 0: thresholding before resizing would tear thin objects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from samtailor.errors import InputError
from samtailor.structures import Prompts

if TYPE_CHECKING:
    from samtailor.bases import Base


@dataclass(frozen=True)
class Frame:
    """Geometry between one picture and the model frame.

    Args:
        height, width: picture size, pixels.
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
            raise InputError(f"A picture needs at least one pixel, got {self.height}x{self.width}.")

    @classmethod
    def of(cls, base: Base, height: int, width: int) -> Frame:
        """Frame of a picture for a base model."""
        return cls(height, width, base.size, base.squash, base.low_res)

    @property
    def inner(self) -> tuple[int, int]:
        """(height, width) of the picture inside the model frame; what is right and below is padding."""
        if self.squash:
            return self.size, self.size
        scale = self.size / max(self.height, self.width)
        return max(1, int(self.height * scale + 0.5)), max(1, int(self.width * scale + 0.5))

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y) factors from picture to model pixels."""
        height, width = self.inner
        return width / self.width, height / self.height

    def image(self, picture: np.ndarray, base: Base) -> Tensor:
        """uint8 RGB (height, width, 3) to a normalised float32 (3, size, size)."""
        if picture.dtype != np.uint8 or picture.shape != (self.height, self.width, 3):
            raise InputError(
                f"A picture must be uint8 RGB of shape ({self.height}, {self.width}, 3), "
                f"got {picture.dtype} {picture.shape}."
            )
        height, width = self.inner
        resized = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
        tensor = torch.from_numpy(resized.astype(np.float32)).permute(2, 0, 1)
        mean, std = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (base.mean, base.std))
        return F.pad((tensor - mean) / std, (0, self.size - width, 0, self.size - height))

    def points(self, points: Tensor | np.ndarray) -> Tensor:
        """(..., 2) picture points (x, y) to the model frame, float32; SAM adds its half pixel itself."""
        return torch.as_tensor(points, dtype=torch.float32) * torch.tensor(self.scale)

    def boxes(self, boxes: Tensor | np.ndarray) -> Tensor:
        """(..., 4) picture boxes (x0, y0, x1, y1) to the model frame; each axis by its own factor."""
        return torch.as_tensor(boxes, dtype=torch.float32) * torch.tensor(self.scale * 2)

    def prompts(self, prompts: Prompts) -> Prompts:
        """Prompts of the picture frame to the model frame; mask prompts are in the model frame already.

        Raises:
            InputError: the prompts belong to a picture of another size.
        """
        if prompts.frame != (self.height, self.width):
            raise InputError(
                f"Prompts of a {prompts.frame} frame cannot be used on a {self.height}x{self.width} picture; "
                "make them for this picture."
            )
        points = None if prompts.points is None else self.points(prompts.points)
        boxes = None if prompts.boxes is None else self.boxes(prompts.boxes)
        return replace(prompts, points=points, boxes=boxes, frame=(self.size, self.size))

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Boolean mask (height, width) to the model frame (size, size), nearest neighbour, padding False."""
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
        """(N, M, low_res, low_res) logits to (N, M, height, width) at the picture's own size; threshold at 0 after."""
        full = F.interpolate(logits.float(), (self.size, self.size), mode="bilinear", align_corners=False)
        height, width = self.inner
        full = full[..., :height, :width]
        return F.interpolate(full, (self.height, self.width), mode="bilinear", align_corners=False)


def coverage(mask: np.ndarray, cells: int) -> Tensor:
    """Boolean (S, S) to float32 (cells, cells): share of each cell that is True. S must be a multiple of cells."""
    side = mask.shape[0] // cells
    return torch.from_numpy(mask.reshape(cells, side, cells, side).mean(axis=(1, 3), dtype=np.float32))
