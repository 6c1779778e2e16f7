"""The point matching module's loss on a training batch (Kim et al., arXiv 2403.09199, section 4.2)."""

from __future__ import annotations

from torch import Tensor

from samtailor.adapters.pmm import PMM, jitter, subsample
from samtailor.errors import InputError
from samtailor.structures import Batch, Output
from samtailor.train.losses import contour_matching


def matching_loss(pmm: PMM, output: Output, batch: Batch, *, kind: str = "index") -> Tensor:
    """L_pm: contours of the batch, shaken, moved by the PMM, against themselves.

    In cells of the image embedding; the kinds are those of `losses.contour_matching`.
    Reaches the PLM only through the keys: a weak signal, since all of SAM between them is frozen.

    Raises:
        InputError: the batch has no contours, or their number of points is not a multiple of the PMM's.
    """
    if batch.contours is None or batch.radius is None:
        raise InputError("The point matching module needs the contours and radius of the batch; the feed gave none.")
    size, cell = batch.prompts.frame[0], batch.prompts.frame[0] / output.keys.shape[-1]
    true = subsample(batch.contours.flatten(0, 1), pmm.points)
    jittered = jitter(true, batch.radius.flatten(), cell)
    moved = jittered + pmm(output.keys.flatten(0, 1), jittered, size)
    return contour_matching(moved, true, kind=kind, unit=cell)
