"""Point matching module (Kim et al., arXiv 2403.09199, section 4.2): moves a jittered contour back onto the object.

The image keys after SAM's two-way transformer (f_DT) are sampled at K contour points G*, and phi(W) predicts the
offset: G~ = G* + phi(W). It is trained with the PLM but not used in `forward`. The architecture is TextBPN++'s
boundary transformer (Zhang et al., arXiv 2207.12955): 1,245,250 parameters at D = 256 in both forms below.

Lengths that depend on the base are in cells of the image embedding (16 px in SAM's 1024-px frame), so that all bases
use the same numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.errors import InputError
from samtailor.masks import contours
from samtailor.registry import choose

if TYPE_CHECKING:
    from samtailor.data.transform import Frame

FORMS = ("sound", "reference")
JITTER = 0.5 * 0.65 * 0.35  # TextBPN++: half of 0.65 of the 0.35 by which it shrinks its proposals


class _Block(nn.Module):
    """Attention with TextBPN++'s extra Linear + ReLU for queries, keys and values, then an MLP; pre-norm."""

    def __init__(self, width: int, heads: int, mlp_dim: int, reference: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(3))
        # TextBPN++ omits batch_first: its attention runs across the polygons of the batch, not along the contour
        self.attention = nn.MultiheadAttention(width, heads, batch_first=not reference)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp_dim), nn.ReLU(), nn.Linear(mlp_dim, width))
        self.reference = reference

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        attended = self.attention(self.query(normed), self.key(normed), self.value(normed), need_weights=False)[0]
        y = x + attended
        y = y + self.mlp(self.norm2(y))
        return x + y if self.reference else y  # TextBPN++ adds the input of the block a second time


class PMM(nn.Module):
    """phi of the paper: features of the image at K contour points to K offsets.

    Args:
        dim: channels D of the image keys.
        points: K; target contours with more points are subsampled to K.
        form: "sound": attention along the contour, one residual connection for each sub-layer, exact sampling with the
            border repeated, a parameter-free LayerNorm for each point (with a BatchNorm the contours of a batch would
            interact), offsets in cells, zero at the start. "reference": TextBPN++'s code as it runs: attention across
            the polygons of a batch, a second residual connection around each block (the activations double three
            times), BatchNorm, sampling half a pixel off with zeros outside, offsets in pixels, convolutions drawn from
            normal(0, 0.02).
        shape_code: add a parameter-free encoding of each point's index in the contour and of its position relative to
            the center, so that the shape is an input and not only image features; never in the reference form.
        width, heads, mlp_dim, blocks: size of the transformer.

    Raises:
        InputError: unknown form, or fewer than 3 points.
    """

    def __init__(
        self,
        dim: int,
        *,
        points: int = 64,
        form: str = "sound",
        shape_code: bool = True,
        width: int = 128,
        heads: int = 8,
        mlp_dim: int = 1024,
        blocks: int = 3,
    ) -> None:
        super().__init__()
        if points < 3:
            raise InputError(f"A contour needs at least 3 points, got {points}.")
        self.points, self.reference = points, choose("form", form, FORMS) == "reference"
        self.shape_code = shape_code and not self.reference
        self.norm = nn.BatchNorm1d(dim, affine=False) if self.reference else nn.LayerNorm(dim, elementwise_affine=False)
        self.enter = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(_Block(width, heads, mlp_dim, self.reference) for _ in range(blocks))
        self.skip = nn.Conv1d(dim, width, 1)
        self.decoder = nn.Sequential(
            nn.Conv1d(2 * width, width, 1),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv1d(width, width // 2, 1),
            nn.ReLU(),
            nn.Conv1d(width // 2, 2, 1),
        )
        self._initialize()

    def _initialize(self) -> None:
        if not self.reference:
            for parameter in self.decoder[-1].parameters():
                nn.init.zeros_(parameter)
            return
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, keys: Tensor, points: Tensor, size: int) -> Tensor:
        """Offsets of contour points.

        Args:
            keys: (N, D, H, W) image keys of each contour.
            points: (N, K, 2) x then y, pixel indices of the model frame.
            size: side of the model frame, pixels.

        Returns:
            (N, K, 2) offsets in pixels of the model frame, at most one cell along each axis.
        """
        cell = size / keys.shape[-1]
        sampled = sample(keys, points, size, reference=self.reference)
        normed = self.norm(sampled.mT).mT if self.reference else self.norm(sampled)
        x = self.enter(normed)
        if self.shape_code:
            x = x + place_code(points, x.shape[-1]).to(x.dtype)
        for block in self.blocks:
            x = block(x)
        offsets = self.decoder(torch.cat([self.skip(normed.mT), x.mT], dim=1)).mT
        return offsets.clamp(-cell, cell) if self.reference else offsets.clamp(-1, 1) * cell


def sample(keys: Tensor, points: Tensor, size: int, *, reference: bool = False) -> Tensor:
    """W: bilinear values of (N, D, H, W) keys at (N, K, 2) pixel-index points of the model frame; (N, K, D).

    x goes to (x + 0.5) / (size / 2) - 1 with align_corners=False, which is cell coordinate (x + 0.5) / cell - 0.5
    exactly; beyond the outermost cell centers the border is repeated. `reference`: TextBPN++'s x / (size / 2) - 1
    and zeros outside.
    """
    grid = points / (size / 2) - 1 if reference else (points + 0.5) / (size / 2) - 1
    mode = "zeros" if reference else "border"
    sampled = F.grid_sample(keys.float(), grid.float().unsqueeze(1), padding_mode=mode, align_corners=False)
    return sampled.squeeze(2).mT


def place_code(points: Tensor, width: int) -> Tensor:
    """Encode contours (N, K, 2) as (N, K, width): half for the index on the closed contour, half for the position
    relative to the center and the extent."""
    count, quarter, eighth = points.shape[1], width // 4, width // 8
    turns = torch.arange(count, device=points.device)[:, None] * torch.arange(1, quarter + 1, device=points.device)
    index = (turns % count) * (2 * math.pi / count)
    centered = points - points.mean(dim=1, keepdim=True)
    place = centered / centered.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1.0)  # in [-1, 1], aspect ratio kept
    waves = torch.arange(1, eighth + 1, device=points.device) * (math.pi / 2)
    place = (place.unsqueeze(-1) * waves).flatten(2)
    return torch.cat(
        [index.sin().expand(len(points), -1, -1), index.cos().expand(len(points), -1, -1), place.sin(), place.cos()], -1
    )


def jitter(points: Tensor, radius: Tensor, cell: float) -> Tensor:
    """G*: contours (N, K, 2) with uniform noise of +-0.114 times the mask's largest interior distance `radius` (N,), in
    pixels and per axis.

    The noise is limited to 1/16 of a cell to one cell (1 and 16 px in SAM's frame): less has no effect in the keys,
    more cannot be undone. Point k of the result belongs to point k of the input. Draws from torch's global generator.
    """
    reach = (JITTER * radius).clamp(cell / 16, cell)[:, None, None]
    noise = torch.rand(points.shape, dtype=points.dtype, device=points.device)  # rand_like would depend on the strides
    return points + reach * (2 * noise - 1)


def subsample(points: Tensor, count: int) -> Tensor:
    """(N, Q, 2) points at equal arc length to (N, count, 2): every (Q / count)-th point, again at equal arc length.

    Raises:
        InputError: Q is not a multiple of count.
    """
    if points.shape[1] % count:
        raise InputError(f"Contours of {points.shape[1]} points cannot be subsampled to {count} points; use a divisor.")
    return points[:, :: points.shape[1] // count]


@torch.no_grad()
def refine(mask: np.ndarray, keys: Tensor, frame: Frame, pmm: PMM) -> np.ndarray:
    """Test-time refinement (Fig. 5): move the mask's outline by the PMM and fill it. Not used in the paper's tables.

    Every component and every hole is refined separately, and holes are subtracted. Parts with fewer pixels than the
    PMM has points, and parts whose IoU with the result is under 0.5, stay unchanged. The PMM is trained on jittered
    true contours, but the errors of predicted contours are of another kind: refinement may make masks worse.

    Args:
        mask: bool (height, width), image frame.
        keys: (D, H, W) image keys of the same prompt.
        frame: geometry of the image.
        pmm: trained module.

    Returns:
        bool (height, width).

    Raises:
        InputError: the mask is not of the frame's size.
    """
    if mask.shape != (frame.height, frame.width):
        raise InputError(f"The mask must have shape ({frame.height}, {frame.width}) like its image, got {mask.shape}.")
    parts = [
        (filled, sign)
        for outer, holes in contours.components_with_holes(mask)
        for filled, sign in _signed(outer, holes)
    ]
    large = [index for index, (filled, _) in enumerate(parts) if filled.sum() >= pmm.points]
    moved = _move([parts[index][0] for index in large], keys, frame, pmm)
    for index, polygon in zip(large, moved, strict=True):
        before, sign = parts[index]
        after = contours.fill(polygon, *mask.shape) if np.isfinite(polygon).all() else np.zeros_like(before)
        if 2 * (after & before).sum() >= (after | before).sum():
            parts[index] = after, sign
    return _assemble(parts, mask.shape)


def _signed(outer: np.ndarray, holes: list[np.ndarray]) -> list[tuple[np.ndarray, bool]]:
    return [(outer, True), *((hole, False) for hole in holes)]


def _assemble(parts: list[tuple[np.ndarray, bool]], shape: tuple[int, int]) -> np.ndarray:
    """Union of the components, each minus its holes; an island in a hole is a component of its own."""
    result, current = np.zeros(shape, bool), np.zeros(shape, bool)
    for part, is_component in parts:
        if is_component:
            result, current = result | current, part
        else:
            current = current & ~part
    return result | current


def _move(masks: list[np.ndarray], keys: Tensor, frame: Frame, pmm: PMM) -> np.ndarray:
    """Outlines (n, K, 2) of the masks after the PMM, image frame."""
    if not masks:
        return np.zeros((0, pmm.points, 2), np.float32)
    scale = np.array(frame.scale, np.float32)
    points = np.stack([contours.resample(mask, pmm.points) for mask in masks])
    inside = torch.from_numpy((points + 0.5) * scale - 0.5).to(keys.device)  # pixel centers, not as for clicks
    training = pmm.training
    moved = inside + pmm.eval()(keys.expand(len(masks), -1, -1, -1), inside, frame.size)
    pmm.train(training)
    return (moved.cpu().numpy() + 0.5) / scale - 0.5
