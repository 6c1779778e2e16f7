"""Training loop of all baselines, with ten validations that select the state to keep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from samtailor.compare.baselines import BaselineFit
from samtailor.compare.baselines._weights import seeded
from samtailor.data.regions import regions
from samtailor.errors import InputError
from samtailor.masks import metrics
from samtailor.structures import Sample
from samtailor.train.progress import Progress
from samtailor.train.schedule import Schedule

VALIDATIONS = 10


@dataclass(frozen=True)
class Training:
    """Settings of a fit.

    Args:
        optimizer: creates an optimizer of parameters, with the peak learning rate.
        schedule: of the learning rate.
        batch: images, or episodes, per update.
        steps: default number of updates.
        augment: train on flipped, cropped and color-jittered views.
    """

    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    schedule: Schedule
    batch: int
    steps: int
    augment: bool

    def updates(self, images: int, steps: int | None, epochs: int | None) -> int:
        """Number of updates; a pass over the images is ceil(images / batch) of them."""
        if steps is not None and epochs is not None:
            raise InputError(f"Give steps or epochs, not both (got {steps} and {epochs}).")
        if epochs is not None:
            return epochs * math.ceil(images / self.batch)
        return self.steps if steps is None else steps


class Trainable(nn.Module):
    """A network that can be trained and validated on regions."""

    classes: tuple[str, ...] = ()

    def segment(self, image: np.ndarray) -> Tensor:
        """See `Baseline.segment`."""
        raise NotImplementedError


def run(
    baseline: Trainable,
    loss_of: Callable[[int], Tensor],
    training: Training,
    held_out: Sequence[Sample],
    *,
    steps: int,
    seed: int,
    progress: Callable[[Progress], None] | None,
) -> BaselineFit:
    """Make `steps` updates with the loss `loss_of(step)`, and load the state of highest held-out mIoU.

    Raises:
        InputError: the loss became infinite or NaN.
    """
    learning = [p for p in baseline.parameters() if p.requires_grad]
    optimizer = training.optimizer(learning)
    peaks = [group["lr"] for group in optimizer.param_groups]
    validated = [s for s in regions(held_out, baseline.classes) if s.of(None)]
    best, start = _BestState(baseline, validated), time.monotonic()
    losses: list[float] = []
    with seeded(seed):
        best.validate(0, None)
        for step in range(steps):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = training.schedule.rate(peak, step, steps)
            baseline.train()
            loss = loss_of(step)
            if not torch.isfinite(loss):
                raise InputError(f"The loss became {loss.item()} at step {step + 1}. Lower the learning rate (lr).")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            latest = loss.item()
            losses.append(latest)
            done = step + 1
            if done % math.ceil(steps / VALIDATIONS) == 0 or done == steps:
                best.validate(done, sum(losses) / len(losses))
                losses = []
            if progress is not None:
                left = (time.monotonic() - start) / done * (steps - done)
                progress(Progress("fit", done, steps, latest, best.last, best.miou, seconds_left=left))
    best.restore()
    baseline.eval()
    best_step = steps if best.step is None else best.step
    return BaselineFit(steps, best_step, best.miou, tuple(best.history))


def region_miou(baseline: Trainable, samples: Sequence[Sample]) -> float:
    """Mean IoU over the regions of `samples` (one per class), at the size of the images."""
    ious: list[float] = []
    for sample in samples:
        masks = baseline.segment(sample.image).numpy() > 0
        for target in sample.of(baseline.classes):
            ious.append(float(metrics.iou(masks[baseline.classes.index(target.label)], target.mask)))
    return sum(ious) / len(ious)


class _BestState:
    """The state of highest mIoU; the earlier of equal ones."""

    def __init__(self, baseline: Trainable, samples: Sequence[Sample]) -> None:
        self.baseline, self.samples = baseline, samples
        self.step: int | None = None
        self.miou: float | None = None
        self.last: float | None = None
        self.history: list[dict[str, float | int | None]] = []
        self._state: dict[str, Tensor] = {}

    def validate(self, step: int, loss: float | None) -> None:
        self.last = region_miou(self.baseline, self.samples) if self.samples else None
        self.history.append({"step": step, "loss": loss, "miou": self.last})
        if self.last is not None and (self.miou is None or self.last > self.miou):
            self.step, self.miou = step, self.last
            self._state = {name: value.detach().clone() for name, value in self.baseline.state_dict().items()}

    def restore(self) -> None:
        if self._state:
            self.baseline.load_state_dict(self._state)


__all__ = ["VALIDATIONS", "Trainable", "Training", "region_miou", "run"]
