"""Loss of the point matching module on a training batch (Kim et al., arXiv 2403.09199, section 4.2)."""

from __future__ import annotations

from torch import Tensor

from samtailor.adapters.pmm import PMM, jitter, subsample
from samtailor.errors import InputError
from samtailor.structures import Batch, Output
from samtailor.train.losses import contour_matching


def matching_loss(pmm: PMM, output: Output, batch: Batch, *, kind: str = "index") -> Tensor:
    """L_pm: distance between the contours of the batch and their jittered copies after the PMM has moved them.

    The unit is one cell of the image embedding; `kind` is that of `losses.contour_matching`. The gradient reaches the
    PLM only through the keys, a weak signal because all of SAM in between is frozen.

    Raises:
        InputError: the batch has no contours, or their number of points is not a multiple of the PMM's.
    """
    if batch.contours is None or batch.radius is None:
        raise InputError("The point matching module needs the contours and radius of the batch; this batch has none.")
    size, cell = batch.prompts.frame[0], batch.prompts.frame[0] / output.keys.shape[-1]
    true = subsample(batch.contours.flatten(0, 1), pmm.points)
    jittered = jitter(true, batch.radius.flatten(), cell)
    moved = jittered + pmm(output.keys.flatten(0, 1), jittered, size)
    return contour_matching(moved, true, kind=kind, unit=cell)


__all__ = ["matching_loss"]
