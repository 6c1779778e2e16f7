"""The interface of a training step, and of the data from which it takes its batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from samtailor.cache.embeddings import EmbeddingCache
from samtailor.structures import Batch, Sample
from samtailor.train.feed import Feed


class TrainingData(Protocol):
    """Training images of a fit, and feeds made of them."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the target masks."""
        ...

    @property
    def store(self) -> EmbeddingCache:
        """Cached embeddings."""
        ...

    @property
    def train(self) -> list[Sample]:
        """All training images."""
        ...

    @property
    def prompted(self) -> list[Sample]:
        """Training images for prompted masks: all but those kept to tune inference on."""
        ...

    def bilevel_split(self) -> tuple[list[Sample], list[Sample]]:
        """The training images in two halves, D1 and D2 of a bi-level step."""
        ...

    def masks(self, samples: Sequence[Sample], *, second: bool = False) -> Feed:
        """Prompted masks of `samples`, augmented; `second` seeds order, views and clicks independently."""
        ...

    def regions(self, samples: Sequence[Sample]) -> Feed:
        """Regions of the classes in `samples`, augmented, without prompts; order and views of a second feed."""
        ...


@dataclass(frozen=True)
class StepFeeds:
    """The batches that a step is called with, and what it adds to validation.

    Args:
        train: first batch of each call.
        second: second batch of each call; None: there is none.
        selection: training images that may select the best state when no image is held out (D2 of a bi-level step);
            None: there are none.
        regions: held-out regions are validated without a prompt too; the best state has the best mean of both mIoU.
    """

    train: Feed
    second: Feed | None = None
    selection: Sequence[Sample] | None = None
    regions: bool = False


class Step(Protocol):
    """One step of training, bound to a segmenter, its optimizers and an accelerator. The loop calls it."""

    unrolled: bool
    """Whether the step differentiates an optimizer step, so that gradients must not be clipped (`max_grad_norm`)."""

    def feeds(self, data: TrainingData) -> StepFeeds:
        """The feeds of the fit."""
        ...

    def __call__(self, train: Batch, second: Batch | None) -> dict[str, float]:
        """Update the parameters with one batch of each feed; returns figures to log, "loss" among them."""
        ...


__all__ = ["Step", "StepFeeds", "TrainingData"]
