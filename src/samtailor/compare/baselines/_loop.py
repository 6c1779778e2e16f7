"""The loop of all baselines: updates, and ten looks at the held-out images that choose the state to keep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from samtailor.compare.baselines import Baseline, Fitted
from samtailor.compare.baselines._weights import seeded
from samtailor.data.regions import regions
from samtailor.errors import InputError
from samtailor.masks import metrics
from samtailor.structures import Sample
from samtailor.train.progress import Progress

LOOKS = 10


@dataclass(frozen=True)
class Training:
    """Settings of a fit.

    Args:
        optimizer: makes one from parameters.
        rate: (step, steps in all) to the factor of the optimiser's learning rate.
        batch: images, or episodes, an update.
        steps: updates where neither steps nor epochs are said.
        augment: train on mirrored, cropped and recoloured views.
    """

    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    rate: Callable[[int, int], float]
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


def poly(step: int, steps: int) -> float:
    """(1 - step / steps)^0.9."""
    return (1 - step / max(1, steps)) ** 0.9


def thirds(step: int, steps: int) -> float:
    """Divided by ten after each third."""
    return 0.1 ** sum(step >= steps * k // 3 for k in (1, 2))


def constant(step: int, steps: int) -> float:
    """Always 1."""
    return 1.0


def run(
    baseline: Baseline,
    loss_of: Callable[[int], Tensor],
    training: Training,
    held_out: Sequence[Sample],
    *,
    steps: int,
    seed: int,
    progress: Callable[[Progress], None] | None,
) -> Fitted:
    """Take `steps` updates on `loss_of(step)`; the state that is best on the held-out images stays.

    Raises:
        InputError: the loss became infinite or NaN.
    """
    learning = [p for p in baseline.parameters() if p.requires_grad]
    optimizer = training.optimizer(learning)
    peaks = [group["lr"] for group in optimizer.param_groups]
    asked = [s for s in regions(held_out, baseline.classes) if s.of(None)]
    keeper, losses, start = _Keeper(baseline, asked), [], time.monotonic()
    with seeded(seed):
        keeper.look(0, None)
        for step in range(steps):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * training.rate(step, steps)
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
            if done % math.ceil(steps / LOOKS) == 0 or done == steps:
                keeper.look(done, sum(losses) / len(losses))
                losses = []
            if progress is not None:
                left = (time.monotonic() - start) / done * (steps - done)
                progress(Progress("fit", done, steps, latest, keeper.last, keeper.best_miou, seconds_left=left))
    keeper.restore()
    baseline.eval()
    return Fitted(
        steps, steps if keeper.best_step is None else keeper.best_step, keeper.best_miou, tuple(keeper.history)
    )


def region_miou(baseline: Baseline, samples: Sequence[Sample]) -> float:
    """Mean IoU over the regions of `samples` (one a class), at the images' own size."""
    found = []
    for sample in samples:
        masks = baseline.segment(sample.image).numpy() > 0
        found += [metrics.iou(masks[baseline.classes.index(a.label)], a.mask) for a in sample.of(baseline.classes)]
    return sum(found) / len(found)


class _Keeper:
    """Remembers the best state; of equal ones the earlier."""

    def __init__(self, baseline: Baseline, samples: Sequence[Sample]) -> None:
        self.baseline, self.samples = baseline, samples
        self.best_step: int | None = None
        self.best_miou: float | None = None
        self.last: float | None = None
        self.history: list[dict[str, float | int | None]] = []
        self._state: dict[str, Tensor] = {}

    def look(self, step: int, loss: float | None) -> None:
        self.last = region_miou(self.baseline, self.samples) if self.samples else None
        self.history.append({"step": step, "loss": loss, "miou": self.last})
        if self.last is not None and (self.best_miou is None or self.last > self.best_miou):
            self.best_step, self.best_miou = step, self.last
            self._state = {name: value.detach().clone() for name, value in self.baseline.state_dict().items()}

    def restore(self) -> None:
        if self._state:
            self.baseline.load_state_dict(self._state)


__all__ = ["LOOKS", "Training", "constant", "poly", "region_miou", "run", "thirds"]
