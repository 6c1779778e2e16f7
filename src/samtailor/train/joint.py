"""Ordinary training: all groups of parameters learn from the same batch (Kim et al., arXiv 2403.09199, section 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from samtailor.errors import InputError
from samtailor.segmenter import Segmenter
from samtailor.structures import Batch, Output
from samtailor.train.losses import segmentation_loss
from samtailor.train.step import StepFeeds, TrainingData

Term = tuple[float, Callable[[Output, Batch], Tensor]]


class Joint:
    """A step of joint training: L = L_seg + sum of weighted further terms.

    Args:
        segmenter: as returned by `accelerator.prepare`, or bare.
        optimizers: one optimizer for each group of `segmenter.groups`.
        accelerator: handles precision, gradient accumulation and several processes.
        objective: L_seg, a function of output, batch and `loss` that returns "loss" and its parts.
        terms: further losses by name, each (weight, function of output and batch), e.g. point matching with lambda.
        loss: keyword arguments of the objective.
    """

    unrolled: bool = False

    def __init__(
        self,
        segmenter: nn.Module,
        optimizers: Mapping[str, Optimizer],
        accelerator: Accelerator,
        *,
        objective: Callable[..., dict[str, Tensor]] = segmentation_loss,
        terms: Mapping[str, Term] | None = None,
        **loss: Any,
    ) -> None:
        self.segmenter, self.optimizers, self.accelerator = segmenter, dict(optimizers), accelerator
        self.objective, self.terms, self.loss = objective, dict(terms or {}), loss

    @property
    def bare(self) -> Segmenter:
        """The segmenter without the wrapper of accelerate."""
        bare = self.accelerator.unwrap_model(self.segmenter)
        if not isinstance(bare, Segmenter):
            raise InputError(f"A training step needs a Segmenter, got {type(bare).__name__}.")
        return bare

    def feeds(self, data: TrainingData) -> StepFeeds:
        """One batch of prompted masks."""
        return StepFeeds(data.masks(data.prompted))

    def forward(self, batch: Batch) -> Output:
        """The output that the loss is computed on."""
        return self.segmenter(batch, fast=True)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """All terms, and their weighted sum as "loss"; no parameter changes."""
        with self.accelerator.autocast():
            output = self.forward(batch)
            figures = self.objective(output, batch, **self.loss)
            for name, (weight, term) in self.terms.items():
                value = term(output, batch)
                figures |= {name: value.detach(), "loss": figures["loss"] + weight * value}
        return figures

    def __call__(self, train: Batch, second: Batch | None = None) -> dict[str, float]:
        """One step on `train`. With gradient accumulation the optimizers move at every n-th call only."""
        with self.accelerator.accumulate(self.segmenter):
            figures = self.losses(train)
            self.accelerator.backward(figures["loss"])
            if self.accelerator.sync_gradients:
                for optimizer in self.optimizers.values():
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
        return {name: float(value.detach()) for name, value in figures.items()}


def decay_groups(
    parameters: Iterable[nn.Parameter], weight_decay: float, *, everything: bool = False
) -> list[dict[str, Any]]:
    """Parameter groups of an AdamW with weight decay on matrices only.

    Norms, biases, prompts and SAM-F's two weights are one-dimensional, and a decay towards 0 would change their
    meaning. `everything=True` is torch's default and the recipe of the paper.
    """
    parameters = list(parameters)
    decayed = [p for p in parameters if everything or p.ndim > 1]
    kept = [p for p in parameters if not (everything or p.ndim > 1)]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def clip_gradients(optimizer: Optimizer, max_norm: float) -> RemovableHandle:
    """Clip the joint gradient norm of the parameters of an optimizer to `max_norm` (0: no limit) before each update.

    One batch in a few hundred has a gradient twenty times as long as the others, and AdamW's second moment keeps it
    for a thousand steps. Register it after `processes.averaging`, so that all processes clip the same gradient.
    """

    def clip(*_: Any) -> None:
        if max_norm:
            everything = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(everything, max_norm)

    return optimizer.register_step_pre_hook(clip)


__all__ = ["Joint", "Term", "clip_gradients", "decay_groups"]
