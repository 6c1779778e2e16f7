"""Held-out validation during a fit: one prompt for each of a bounded number of masks.

IoU is measured in the model frame without its padding, not at the size of the image, so that the cost does not depend
on the images. Report the figures of `evaluate`; these select the best state.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.masks import metrics
from samtailor.structures import Output
from samtailor.train.feed import Feed, HeldOut


@dataclass(frozen=True)
class Validation:
    """IoU of each validated mask; all fields have one entry per mask.

    Args:
        ious: IoU of the candidate mask of highest predicted IoU, in [0, 1].
        oracle_ious: highest IoU among the candidates, in [0, 1].
        labels: class names.
        images: sample ids, the groups of the bootstrap.
    """

    ious: tuple[float, ...]
    oracle_ious: tuple[float, ...]
    labels: tuple[str, ...]
    images: tuple[str, ...]

    @property
    def miou(self) -> float:
        """Unweighted mean over classes of the mean IoU of each class."""
        return self._means()[0]

    @property
    def oracle_miou(self) -> float:
        """The same mean of the oracle IoU."""
        return self._means()[1]

    @property
    def dice(self) -> float:
        """Unweighted mean over classes of the mean Dice of each class; the Dice of a mask is 2 IoU / (1 + IoU)."""
        by_class: dict[str, list[float]] = defaultdict(list)
        for label, iou in zip(self.labels, self.ious, strict=True):
            by_class[label].append(2 * iou / (1 + iou))
        return float(np.mean([np.mean(values) for values in by_class.values()]))

    @property
    def n_images(self) -> int:
        """Number of different images."""
        return len(set(self.images))

    def interval(self) -> list[float] | None:
        """95 % interval of `miou` by a bootstrap over images, [low, high]; None with fewer than two images."""
        return _bounds(metrics.bootstrap(self.ious, self.images, classes=self.labels))

    def gain_interval(self, before: Validation) -> list[float] | None:
        """95 % interval of the paired difference of `miou`, this minus `before`; None with fewer than two images.

        Raises:
            InputError: `before` has another number of masks.
        """
        return _bounds(metrics.paired_difference(self.ious, before.ious, self.images, classes=self.labels))

    def figures(self) -> dict[str, float]:
        """ "miou", "oracle_miou" and "dice" in [0, 1]."""
        return {"miou": self.miou, "oracle_miou": self.oracle_miou, "dice": self.dice}

    def _means(self) -> tuple[float, float]:
        by_class: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for label, *pair in zip(self.labels, self.ious, self.oracle_ious, strict=True):
            by_class[label].append((pair[0], pair[1]))
        chosen, oracle = np.mean([np.mean(pairs, axis=0) for pairs in by_class.values()], axis=0)
        return float(chosen), float(oracle)


def validate(segmenter: nn.Module, feed: Feed, at_most: int, device: torch.device) -> Validation:
    """IoU of held-out masks, without gradients.

    Args:
        segmenter: a `Segmenter`; it is in evaluation mode during the call.
        feed: held-out images with a deterministic prompt source (`mask-center`).
        at_most: largest number of masks.
        device: device of the segmenter.
    """
    training = segmenter.training
    segmenter.eval()
    pairs: list[tuple[float, float]] = []
    labels: list[str] = []
    images: list[str] = []
    with torch.no_grad():
        for part in feed.held_out(at_most):
            pairs += mask_ious(segmenter(part.batch.to(device)), part)
            labels += part.batch.labels
            images += part.batch.ids
    segmenter.train(training)
    chosen, oracle = zip(*pairs, strict=True)
    return Validation(chosen, oracle, tuple(labels), tuple(images))


def mask_ious(output: Output, part: HeldOut) -> list[tuple[float, float]]:
    """For each mask the IoU of the candidate of highest predicted IoU, and the highest IoU among the candidates."""
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
    """IoU of bool (M, h, w) with bool (h, w), not empty: (M,)."""
    return (masks & truth).sum(dim=(1, 2)) / (masks | truth).sum(dim=(1, 2))


def _bounds(interval: metrics.Interval) -> list[float] | None:
    _, low, high = interval
    return None if math.isnan(low) else [low, high]


__all__ = ["Validation", "mask_ious", "validate"]
