"""IoU map of one mask (Kim et al., arXiv 2403.09199, Fig. 2b and 9): click everywhere, colour by what comes back.

A base that answers the right mask only near one lucky point shows islands; a fitted one is even all over the object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

_LOGITS_AT_ONCE = 24_000_000
_SIDE = 320  # px; hundreds of masks of a large photo are compared at this size, the map is not finer


@dataclass(frozen=True)
class IouMap:
    """What a click at every grid position gives.

    Args:
        points: float32 (R, C, 2) clicks, x then y, pixels of the image.
        iou: float32 (R, C) IoU of the mask chosen by predicted IoU.
        oracle: float32 (R, C) best IoU over the candidates.
        inside: bool (R, C): the click lies in the mask.
    """

    points: np.ndarray
    iou: np.ndarray
    oracle: np.ndarray
    inside: np.ndarray

    @property
    def mean(self) -> float:
        """Mean IoU over the clicks inside the mask."""
        return float(self.iou[self.inside].mean())

    def to_json(self) -> dict[str, Any]:
        """Figures and the map, row by row."""
        within, whole = self.iou[self.inside], self.iou
        return {
            "mean_iou_inside": self.mean,
            "mean_oracle_iou_inside": float(self.oracle[self.inside].mean()),
            "lowest_iou_inside": float(within.min()),
            "share_inside_above_half": float((within > 0.5).mean()),
            "clicks_inside": int(self.inside.sum()),
            "clicks": int(whole.size),
            "x": self.points[0, :, 0].round(2).tolist(),
            "y": self.points[:, 0, 1].round(2).tolist(),
            "iou": whole.round(4).tolist(),
            "oracle_iou": self.oracle.round(4).tolist(),
            "inside": self.inside.tolist(),
        }


def iou_map(predictor: Predictor, mask: np.ndarray, *, adapter: str | None = None, cells: int = 32) -> IouMap:
    """Click every grid position of the image that is set, one click a time.

    Args:
        predictor: with the image set.
        mask: bool (height, width), the true mask.
        adapter: who answers; None is the base.
        cells: grid positions along the longer side; a small mask makes the grid finer.

    Raises:
        InputError: an empty mask, or one of another size than the image.
    """
    size = (predictor.frame.height, predictor.frame.width)
    if mask.shape != size:
        raise InputError(f"The mask must have the image's size {size} (height, width), got {mask.shape}.")
    if not mask.any():
        raise InputError("The mask is empty: there is nothing to click on.")
    points = _grid(mask, cells)
    flat = torch.from_numpy(points.reshape(1, -1, 1, 2))
    shrink = min(1.0, _SIDE / max(size))
    frame = Frame.of(predictor.base, *(max(1, round(length * shrink)) for length in size))
    truth, found = torch.from_numpy(resize_nearest(mask, (frame.height, frame.width))), []
    step = max(1, min(64, _LOGITS_AT_ONCE // (3 * max(truth.numel(), predictor.base.size**2))))
    for first in range(0, flat.shape[1], step):
        part = flat[:, first : first + step]
        prompts = Prompts(frame=size, points=part, labels=torch.ones(part.shape[:3], dtype=torch.int64))
        found.append(_ious(predictor.decode(prompts, adapter), frame, truth))
    chosen, oracle = (np.concatenate(v).reshape(points.shape[:2]) for v in zip(*found, strict=True))
    inside = mask[points[..., 1].astype(int), points[..., 0].astype(int)]
    return IouMap(points, chosen, oracle, inside)


def _grid(mask: np.ndarray, cells: int) -> np.ndarray:
    """Centres of about square cells, (R, C, 2).

    A small mask makes the grid finer by half; of a mask that is smaller still, the nearest row and column are moved
    onto its centre.
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


def _ious(output: Output, frame: Frame, truth: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """IoU (P,) of the chosen candidate and of the best one, against bool (height, width) of the frame."""
    masks = (frame.logits(output.candidate_logits()[0]) > 0).flatten(2)
    truth = truth.to(masks.device).flatten()
    both, either = (masks & truth).sum(-1), (masks | truth).sum(-1)
    iou = both / either.clamp(min=1)
    chosen = output.candidate_iou()[0].argmax(-1, keepdim=True)
    return iou.gather(1, chosen)[:, 0].cpu().numpy(), iou.amax(1).cpu().numpy()


def draw(pixels: np.ndarray, mask: np.ndarray, maps: Mapping[str, IouMap]) -> Figure:
    """Image with the mask's outline, then one IoU map a name, side by side on one colour scale.

    Args:
        image: uint8 RGB (height, width, 3).
        mask: bool (height, width).
        maps: name to map.
    """
    from matplotlib.figure import Figure

    height, width = mask.shape
    panel = 3.4
    figure = Figure(
        figsize=(panel * (len(maps) + 1) + 0.6, min(6.0, panel * height / width) + 0.7), layout="constrained"
    )
    axes: Sequence[Any] = figure.subplots(1, len(maps) + 1)
    axes[0].imshow(pixels)
    axes[0].set_title("image and mask", fontsize=10)
    for axis, (name, found) in zip(axes[1:], maps.items(), strict=True):
        axis.imshow(pixels.mean(axis=2), cmap="gray", alpha=0.35)
        image = axis.imshow(found.iou, extent=(-0.5, width - 0.5, height - 0.5, -0.5), vmin=0, vmax=1, cmap="viridis")
        axis.set_title(f"{name}: mean IoU inside {100 * found.mean:.1f}", fontsize=10)
    for axis in axes:
        axis.contour(mask, [0.5], colors="#ff3b30", linewidths=1.4)
        axis.set_axis_off()
    figure.colorbar(image, ax=list(axes[1:]), label="IoU of the answer to a click here", shrink=0.85)
    return figure


def save(figure: Figure, path: Path, dpi: int = 130) -> None:
    """Write a figure as PNG, at once (never half a file)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)


__all__ = ["IouMap", "draw", "iou_map", "save"]
