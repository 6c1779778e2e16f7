"""One step of ordinary training: every group learns from the same batch (Kim et al., arXiv 2403.09199, section 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from samtailor.segmenter import Segmenter
from samtailor.structures import Batch, Output
from samtailor.train.losses import segmentation_loss

Term = tuple[float, Callable[[Output, Batch], Tensor]]


class Step(Protocol):
    """How one step is taken. Bound to segmenter, optimisers and accelerator; the loop calls it."""

    second: str | None
    """What the second batch of a step is: None, "halves" (D2 of two levels) or "regions" (of the same images)."""
    unrolled: bool
    """Whether the step differentiates an optimiser step, so that gradients must not be clipped (`max_grad_norm`)."""

    def __call__(self, train: Batch, held_out: Batch | None) -> dict[str, float]:
        """Take the step; figures to log, "loss" among them."""


class Joint:
    """A step of joint training: L = L_seg + sum of weighted further terms.

    Args:
        segmenter: as `accelerator.prepare` returned it, or bare.
        optimizers: one optimiser for each group of `segmenter.groups`.
        accelerator: accelerate's Accelerator; precision, accumulation and several processes are its business.
        objective: L_seg, a function of output, batch and `loss` that returns "loss" and its parts.
        terms: further losses by name, each (weight, function of output and batch), e.g. point matching with lambda.
        loss: keyword arguments of the objective.
    """

    second: str | None = None
    unrolled: bool = False

    def __init__(
        self,
        segmenter: nn.Module,
        optimizers: Mapping[str, Optimizer],
        accelerator: Any,
        *,
        objective: Callable[..., dict[str, Tensor]] = segmentation_loss,
        terms: Mapping[str, Term] | None = None,
        **loss: Any,
    ) -> None:
        self.segmenter, self.optimizers, self.accelerator = segmenter, dict(optimizers), accelerator
        self.objective, self.terms, self.loss = objective, dict(terms or {}), loss

    @property
    def bare(self) -> Segmenter:
        """The segmenter without accelerate's wrapping."""
        return self.accelerator.unwrap_model(self.segmenter)

    def forward(self, batch: Batch) -> Output:
        """The output that the loss sees."""
        return self.segmenter(batch, fast=True)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """All terms, and their weighted sum as "loss"; nothing is changed."""
        with self.accelerator.autocast():
            output = self.forward(batch)
            figures = self.objective(output, batch, **self.loss)
            for name, (weight, term) in self.terms.items():
                value = term(output, batch)
                figures |= {name: value.detach(), "loss": figures["loss"] + weight * value}
        return figures

    def __call__(self, train: Batch, held_out: Batch | None = None) -> dict[str, float]:
        """One step on a batch. With accumulation the optimisers move at every n-th call only."""
        with self.accelerator.accumulate(self.segmenter):
            figures = self.losses(train)
            self.accelerator.backward(figures["loss"])
            if self.accelerator.sync_gradients:
                for optimizer in self.optimizers.values():
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
        return {name: float(value.detach()) for name, value in figures.items()}


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float, *, everything: bool = False) -> list[dict]:
    """Parameter groups of an AdamW with weight decay on matrices only.

    Norms, biases, prompts and SAM-F's two weights have one dimension and a meaning at their value; pulling them to 0 is
    nobody's intention. `everything=True` is torch's default and the paper's recipe as written.
    """
    parameters = list(parameters)
    decayed = [p for p in parameters if everything or p.ndim > 1]
    kept = [p for p in parameters if not (everything or p.ndim > 1)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def shortening(optimizer: Optimizer, longest: float) -> Any:
    """Shorten the gradient of an optimiser's parameters, all together, to `longest` (0: no limit) before it moves.

    One batch in a few hundred has a gradient twenty times as long as the others; AdamW's second moment remembers it
    for a thousand steps. Registered after `processes.averaging`, so that all processes shorten the same gradient alike.
    """

    def shorten(*_: Any) -> None:
        if longest:
            everything = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(everything, longest)

    return optimizer.register_step_pre_hook(shorten)
