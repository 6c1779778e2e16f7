"""The location prior and the cascaded post-refinement that PerSAM and PerSAM-F share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.bases import Base
from samtailor.data.augment import UNTOUCHED
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.masks import interior
from samtailor.matchers import Candidates, MarkedImage
from samtailor.structures import Features, Output, Prompts


def target_cells(references: Sequence[MarkedImage], name: str) -> Tensor:
    """T_R^i: embeddings (n, D) of the cells that the objects of the references touch.

    Raises:
        InputError: there are negative references, which the paper does not define.
    """
    if any(not one.alike for one in references):
        raise InputError(
            f"{name} takes no negative references: the published method has none. Leave out --not-like (not_like), or "
            "use the matcher multiscale."
        )
    parts = []
    for one in references:
        main = one.see((), UNTOUCHED).main[0]
        covered = F.adaptive_max_pool2d(one.frame.target(one.union)[None], main.shape[-1])[0] > 0
        parts.append(main[:, covered.to(main.device)].T)
    return torch.cat(parts)


def similarity(features: Features, frame: Frame, directions: Tensor) -> Tensor:
    """S: mean cosine similarity of each place of the image to the target's directions, (height, width).

    S = mean_i S^i with S^i = F_I T_R^i / (|F_I| |T_R^i|).

    Args:
        features: of the image, one row.
        frame: of the image.
        directions: (n, D), not necessarily of unit length.
    """
    mean = F.normalize(directions, dim=1).mean(dim=0)
    cells = torch.einsum("d,dhw->hw", mean, F.normalize(features.main[0], dim=0))
    fine = F.interpolate(cells[None, None], scale_factor=4.0, mode="bilinear", align_corners=False)
    return frame.logits(fine)[0, 0]


def place(values: Tensor) -> tuple[float, float]:
    """(x, y) of the largest value of a map (height, width)."""
    row, column = divmod(int(values.argmax()), values.shape[1])
    return float(column), float(row)


def click_prompts(frame: Frame, clicks: Sequence[tuple[float, float, int]]) -> Prompts:
    """Clicks (x, y, label) on one object, in the model frame."""
    points = torch.tensor([[[click[:2] for click in clicks]]], dtype=torch.float32)
    labels = torch.tensor([[[click[2] for click in clicks]]], dtype=torch.int64)
    return frame.prompts(Prompts((frame.height, frame.width), points, labels))


def decode(
    base: Base, features: Features, prompts: Prompts, mask: Tensor | None = None, box: Tensor | None = None
) -> Output:
    """Decode one prompt with the logits (h, w) of an earlier mask and a box (4,) of the model frame."""
    whole = Prompts(
        prompts.frame,
        prompts.points,
        prompts.labels,
        None if box is None else box[None, None],
        None if mask is None else mask[None, None],
    )
    return base.decode(features, base.encode_prompts(whole.to(features.main.device)))


def best(output: Output) -> tuple[Tensor, Tensor]:
    """Predicted IoU () and logits (h, w) of the best candidate of one prompt."""
    scores, logits = output.best_masks()
    return scores[0, 0], logits[0, 0]


def box_of(logits: Tensor, frame: Frame) -> Tensor | None:
    """Box (4,) of the mask in the model frame; None if it is empty."""
    mask = (frame.logits(logits[None, None])[0, 0] > 0).cpu().numpy()
    if not mask.any():
        return None
    x0, y0, x1, y1 = interior.box(mask)
    return frame.boxes(np.array([x0, y0, x1, y1], np.float32))


def one_candidate(logits: Tensor, iou: Tensor, match: float) -> Candidates:
    """The single answer of PerSAM."""
    return Candidates(logits[None].float(), logits.new_tensor([match]).clamp(0, 1).float(), iou[None].float())


__all__ = ["best", "box_of", "click_prompts", "decode", "one_candidate", "place", "similarity", "target_cells"]
