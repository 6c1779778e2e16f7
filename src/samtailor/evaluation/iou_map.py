"""IoU map of one mask (Kim et al., arXiv 2403.09199, Fig. 2b and 9): the IoU that a click at each position gives.

A base that predicts the right mask only for some clicks shows islands; a fitted adapter is uniform over the object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from samtailor.data.image import replacing, resize_nearest
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.predict.predictor import Predictor
from samtailor.prompts.mask_center import center
from samtailor.structures import Output, Prompts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_LOGITS = 24_000_000
_SIDE = 320  # px; masks of larger images are compared at this size


@dataclass(frozen=True)
class IouMap:
    """IoU of the predictions for clicks on a grid.

    Args:
        points: float32 (R, C, 2) clicks, x then y, pixels of the image.
        iou: float32 (R, C) IoU of the mask chosen by predicted IoU.
        oracle: float32 (R, C) best IoU over the candidates.
        inside: bool (R, C): the click lies in the mask.
        candidates: float32 (M, R, C) IoU of each candidate mask; None where it was not kept.
    """

    points: np.ndarray
    iou: np.ndarray
    oracle: np.ndarray
    inside: np.ndarray
    candidates: np.ndarray | None = None

    def by_candidate(self) -> dict[str, IouMap]:
        """A map of each candidate mask, by its name."""
        each = () if self.candidates is None else self.candidates
        return {f"mask {place}": replace(self, iou=one, candidates=None) for place, one in enumerate(each, 1)}

    @property
    def mean(self) -> float:
        """Mean IoU over the clicks inside the mask."""
        return float(self.iou[self.inside].mean())

    def to_json(self) -> dict[str, Any]:
        """Summary and the map, row by row."""
        inside = self.iou[self.inside]
        return {
            "mean_iou_inside": self.mean,
            "mean_oracle_iou_inside": float(self.oracle[self.inside].mean()),
            "lowest_iou_inside": float(inside.min()),
            "share_inside_above_half": float((inside > 0.5).mean()),
            "clicks_inside": int(self.inside.sum()),
            "clicks": int(self.iou.size),
            "x": self.points[0, :, 0].round(2).tolist(),
            "y": self.points[:, 0, 1].round(2).tolist(),
            "iou": self.iou.round(4).tolist(),
            "oracle_iou": self.oracle.round(4).tolist(),
            "inside": self.inside.tolist(),
        }


def iou_map(
    predictor: Predictor,
    mask: np.ndarray,
    *,
    adapter: str | None = None,
    cells: int = 32,
    view: tuple[slice, slice] | None = None,
) -> IouMap:
    """Click on every grid position of the current image, one click per prediction.

    Args:
        predictor: with an image set.
        mask: bool (height, width), the true mask.
        adapter: as in `Predictor.predict`.
        cells: grid positions along the longer side; the grid is finer for a small mask.
        view: rows and columns of a detail that contains the mask, to click there only; None: the whole image.

    Raises:
        InputError: an empty mask, or one of another size than the image.
    """
    size = (predictor.frame.height, predictor.frame.width)
    if mask.shape != size:
        raise InputError(f"The mask must have the image's size {size} (height, width), got {mask.shape}.")
    rows, columns = view or (slice(0, size[0]), slice(0, size[1]))
    if not mask[rows, columns].any():
        raise InputError("The mask is empty." if view is None else "The mask is empty within the detail.")
    points = _grid(mask[rows, columns], cells) + np.array([columns.start, rows.start], np.float32)
    flat = torch.from_numpy(points.reshape(1, -1, 1, 2))
    shrink = min(1.0, _SIDE / max(size))
    frame = Frame.of(predictor.base, *(max(1, round(length * shrink)) for length in size))
    truth, ious = torch.from_numpy(resize_nearest(mask, (frame.height, frame.width))), []
    step = max(1, min(64, _MAX_LOGITS // (3 * max(truth.numel(), predictor.base.size**2))))
    for first in range(0, flat.shape[1], step):
        part = flat[:, first : first + step]
        prompts = Prompts(frame=size, points=part, labels=torch.ones(part.shape[:3], dtype=torch.int64))
        ious.append(_ious(predictor.decode(prompts, adapter), frame, truth))
    chosen, oracle, each = (np.concatenate(values) for values in zip(*ious, strict=True))
    inside, grid = mask[points[..., 1].astype(int), points[..., 0].astype(int)], points.shape[:2]
    return IouMap(points, chosen.reshape(grid), oracle.reshape(grid), inside, each.T.reshape(-1, *grid))


def _grid(mask: np.ndarray, cells: int) -> np.ndarray:
    """Centers of approximately square cells, (R, C, 2).

    The grid is finer by one half for a small mask; for an even smaller one, the nearest row and column are moved to its
    center.
    """
    if cells < 1:
        raise InputError(f"An IoU map needs at least one cell, got {cells}.")
    height, width = mask.shape
    for finer in (1, 1.5):
        side = max(1.0, max(height, width) / (cells * finer))
        x, y = (
            ((np.arange(max(1, round(length / side))) + 0.5) * length / max(1, round(length / side))).astype(np.float32)
            for length in (width, height)
        )
        if (inside := mask[np.ix_(y.astype(int), x.astype(int))].sum()) >= 9:
            break
    if not inside:
        middle = center(mask)
        for line, at in zip((x, y), middle, strict=True):
            line[np.abs(line - at).argmin()] = at
    return np.stack(np.meshgrid(x, y), axis=-1)


def _ious(output: Output, frame: Frame, truth: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """IoU (P,) of the candidate with the highest predicted IoU and of the best one, and (P, M) of each candidate."""
    masks = (frame.logits(output.candidate_logits()[0]) > 0).flatten(2)
    truth = truth.to(masks.device).flatten()
    both, either = (masks & truth).sum(-1), (masks | truth).sum(-1)
    iou = both / either.clamp(min=1)
    chosen = output.candidate_iou()[0].argmax(-1, keepdim=True)  # as `Output.best_masks`, which returns no index
    return iou.gather(1, chosen)[:, 0].cpu().numpy(), iou.amax(1).cpu().numpy(), iou.cpu().numpy()


def draw(
    pixels: np.ndarray,
    mask: np.ndarray,
    maps: Mapping[str, IouMap],
    *,
    title: str = "image and mask",
    view: tuple[slice, slice] | None = None,
) -> Figure:
    """Draw the image with the outline of the mask, and the IoU maps next to it on one color scale.

    Args:
        pixels: uint8 RGB (height, width, 3).
        mask: bool (height, width).
        maps: name to map.
        title: above the image.
        view: rows and columns of the detail that the maps are of; None: the whole image.
    """
    from matplotlib.figure import Figure

    if view is not None:
        pixels, mask = pixels[view], mask[view]
    height, width = mask.shape
    panel = 3.4
    figure = Figure(
        figsize=(panel * (len(maps) + 1) + 0.9, min(6.0, panel * height / width) + 0.5), layout="compressed"
    )
    axes: Sequence[Any] = figure.subplots(1, len(maps) + 1)
    axes[0].imshow(pixels)
    axes[0].set_title(title, fontsize=10)
    for axis, (name, one) in zip(axes[1:], maps.items(), strict=True):
        axis.imshow(pixels.mean(axis=2), cmap="gray", alpha=0.35)
        edges = (-0.5, width - 0.5, height - 0.5, -0.5)
        image = axis.imshow(100 * one.iou, extent=edges, vmin=0, vmax=100, cmap="viridis")
        axis.set_title(f"{name}: mean IoU inside {100 * one.mean:.1f}", fontsize=10)
    for axis in axes:
        axis.contour(mask, [0.5], colors="#ff3b30", linewidths=1.4)
        axis.set_axis_off()
    figure.colorbar(image, ax=list(axes[1:]), label="IoU of the mask for a click here, %", shrink=0.9)
    return figure


def save(figure: Figure, path: Path, dpi: int = 130) -> None:
    """Write a figure as PNG, atomically."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)


__all__ = ["IouMap", "draw", "iou_map", "save"]
