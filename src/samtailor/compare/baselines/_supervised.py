"""Segmentation networks trained on the images, with a softmax over background and classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samtailor.compare.baselines._feed import Feed, InputFormat
from samtailor.compare.baselines._loop import Training
from samtailor.compare.baselines._state import Fittable, load_strictly


class Supervised(Fittable):
    """See `samtailor.compare.baselines.Baseline`.

    Args:
        network: maps (B, 3, size, size) to logits (B, 1 + classes, size, size), background first.
        loss: maps logits and int64 labels (B, size, size) to a scalar.
        input_format: input of the network.
        training: settings of a fit.
        name, options, weights: see `Baseline`.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        input_format: InputFormat,
        training: Training,
        **about: Any,
    ) -> None:
        super().__init__(network, input_format, training, **about)
        self._loss = loss

    def _loss_of(self, feed: Feed, seed: int, device: torch.device) -> Callable[[int], Tensor]:
        def loss_of(step: int) -> Tensor:
            images, labels = feed.batch(step, self.training_settings.batch)
            return self._loss(self.network(images.to(device)), labels.to(device))

        return loss_of

    @torch.no_grad()
    def segment(self, image: np.ndarray) -> Tensor:
        """See `Baseline.segment`. The value is the logit of the class minus the largest other logit."""
        self.eval()
        pixels = self.input_format.image(image)[None].to(next(self.parameters()).device)
        logits = self.input_format.frame(*image.shape[:2]).logits(self.network(pixels))[0].cpu()
        others = [torch.cat([logits[:c], logits[c + 1 :]]).amax(0) for c in range(1, len(logits))]
        return logits[1:] - torch.stack(others)

    def learned(self) -> dict[str, Tensor]:
        """See `Baseline.learned`."""
        return {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}

    def load_learned(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Baseline.load_learned`."""
        load_strictly(self.network, tensors)
        self.eval()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy, mean over pixels."""
    return F.cross_entropy(logits, labels)


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over images and classes, background included, of 1 - (2 sum p t + e) / (sum p^2 + sum t^2 + e), e = 1e-5.

    The references sum over the whole batch, where large objects outweigh small ones; here every image counts equally.
    """
    p = logits.softmax(dim=1)
    t = F.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2).to(p.dtype)
    both, sizes = (p * t).sum((2, 3)), (p * p + t).sum((2, 3))
    return (1 - (2 * both + 1e-5) / (sizes + 1e-5)).mean()


__all__ = ["Supervised", "cross_entropy", "dice"]
