"""Held-out validation during a fit: single clicks on a bounded number of masks, cheap enough to do often.

IoU is taken in the model frame (padding cut off), not at the image's own size, so that its cost does not depend on
the images. `evaluate` is the measurement to report; this one chooses the best state.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.segmenter import Segmenter
from samtailor.structures import Output
from samtailor.train.feed import Feed, HeldOut


def validate(segmenter: Segmenter, feed: Feed, at_most: int, device: torch.device) -> dict[str, float]:
    """Mean IoU over classes (each the mean over its masks) of the mask chosen by predicted IoU, and of the best one.

    Args:
        segmenter: put into evaluation mode meanwhile.
        feed: held-out images with a prompt source that does not draw (`mask-center`).
        at_most: number of masks.
        device: where the segmenter is.

    Returns:
        "miou" and "oracle_miou" in 0 to 1.
    """
    training = segmenter.training
    segmenter.eval()
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with torch.no_grad():
        for part in feed.held_out(at_most):
            output = segmenter(part.batch.to(device))
            for label, pair in zip(part.batch.labels, _ious(output, part), strict=True):
                found[label].append(pair)
    segmenter.train(training)
    chosen, oracle = np.mean([np.mean(pairs, axis=0) for pairs in found.values()], axis=0)
    return {"miou": float(chosen), "oracle_miou": float(oracle)}


def _ious(output: Output, part: HeldOut) -> list[tuple[float, float]]:
    best = output.candidate_iou()[:, 0].argmax(dim=1).tolist()
    pairs = []
    for logits, index, mask, (height, width) in zip(
        output.candidate_logits()[:, 0], best, part.masks, part.inner, strict=True
    ):
        full = F.interpolate(logits.float()[None], mask.shape, mode="bilinear", align_corners=False)[0]
        truth = torch.from_numpy(mask[:height, :width]).to(full.device)
        ious = _iou(full[:, :height, :width] > 0, truth)
        pairs.append((float(ious[index]), float(ious.max())))
    return pairs


def _iou(masks: Tensor, truth: Tensor) -> Tensor:
    """bool (M, h, w) against bool (h, w): (M,); the truth is never empty."""
    return (masks & truth).sum(dim=(1, 2)) / (masks | truth).sum(dim=(1, 2))


__all__ = ["validate"]
