"""A bi-level step (BLO-SAM, Zhang et al., arXiv 2402.16338; AM-SAM, Li et al., arXiv 2410.09714): the lower level W
learns on D1, then the upper level A learns on D2 with the updated W.

    W+ = AdamW(W, g),  g = dL(W, A; D1)/dW          A <- AdamW(A, h)
    first order  h = dL(W+, A; D2)/dA
    unrolled     h = dL(W+, A; D2)/dA + (dg/dA)^T P dL(W+, A; D2)/dW+,   P = diag(dW+/dg)

P is the derivative of the AdamW update, both moments and bias correction included. The code of BLO-SAM takes -lr
instead, which is P of SGD: on a small problem its hypergradient has a cosine of 0.64 with the exact one, P has 1.00.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer

from samtailor.errors import InputError
from samtailor.registry import choose
from samtailor.structures import Batch
from samtailor.train.joint import Joint
from samtailor.train.step import StepFeeds, TrainingData

HYPERGRADIENT = ("first-order", "unrolled")
LOWER, UPPER = "lower", "upper"


class Bilevel(Joint):
    """Lower level on a batch of D1, upper level on a batch of D2.

    Args:
        segmenter, optimizers, accelerator: as in `Joint`; groups "lower" and "upper".
        hypergradient: "first-order", or "unrolled": the exact gradient through one lower step (a second backward
            pass through the gradient; about twice the time).
        limit: largest norm of the second term of the unrolled gradient, relative to the norm of the first; None: no
            limit. The first steps of AdamW follow the sign of g, so that P is huge where g is almost 0.
        options: `objective`, `terms` and the objective's arguments, as in `Joint`.

    Raises:
        InputError: other groups, a negative limit, gradient accumulation (the lower level must move before the upper
            gradient is computed), or the unrolled gradient with several processes or fp16.
    """

    def __init__(
        self,
        segmenter: nn.Module,
        optimizers: Mapping[str, Optimizer],
        accelerator: Accelerator,
        *,
        hypergradient: str = "first-order",
        limit: float | None = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(segmenter, optimizers, accelerator, **options)
        self.unrolled = choose("hypergradient", hypergradient, HYPERGRADIENT) == "unrolled"
        if limit is not None and not (isinstance(limit, int | float) and limit >= 0):
            raise InputError(f"limit must be at least 0, or null for the exact gradient, got {limit!r}.")
        self.limit = limit
        if set(self.optimizers) != {LOWER, UPPER}:
            raise InputError(f"A bi-level step needs the groups lower and upper, got {sorted(self.optimizers)}.")
        if accelerator.gradient_accumulation_steps != 1:
            raise InputError(
                "A bi-level step cannot accumulate gradients. Set grad_accum_steps: 1 and a larger batch_size."
            )
        if self.unrolled and (accelerator.num_processes > 1 or accelerator.scaler is not None):
            raise InputError("The unrolled hypergradient works in one process and without fp16; take first-order.")

    def feeds(self, data: TrainingData) -> StepFeeds:
        """Prompted masks of D1 and of D2; D2 may select the state."""
        lower, upper = data.bilevel_split()
        return StepFeeds(data.masks(lower), data.masks(upper, second=True), selection=upper)

    def __call__(self, train: Batch, second: Batch | None = None) -> dict[str, float]:
        """One step of both levels; "loss" and its parts are those of the lower level, "upper_loss" is that of D2.

        Raises:
            InputError: no second batch.
        """
        if second is None:
            raise InputError("A bi-level step needs a batch of D1 and a batch of D2.")
        lower, upper = (parameters(self.optimizers[name]) for name in (LOWER, UPPER))
        before = [p.detach().clone() for p in lower] if self.unrolled else []
        figures = self.losses(train)
        self.accelerator.backward(figures["loss"], inputs=lower)
        self.optimizers[LOWER].step()
        factors = update_slope(self.optimizers[LOWER]) if self.unrolled else []
        self.optimizers[LOWER].zero_grad(set_to_none=True)
        upper_figures = self.losses(second)
        self.accelerator.backward(upper_figures["loss"], inputs=upper + lower if self.unrolled else upper)
        if self.unrolled:
            pull = [f * p.grad if p.grad is not None else None for f, p in zip(factors, lower, strict=True)]
            self._add_second_term(train, before, pull, lower, upper)
        self.optimizers[UPPER].step()
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        values = {name: float(value.detach()) for name, value in figures.items()}
        return values | {"upper_loss": float(upper_figures["loss"].detach())}

    def _add_second_term(
        self,
        train: Batch,
        before: Sequence[Tensor],
        pull: Sequence[Tensor | None],
        lower: Sequence[nn.Parameter],
        upper: Sequence[nn.Parameter],
    ) -> None:
        """Add (dg/dA)^T pull, computed at W, to the gradient of the upper level, and restore W+."""
        after = [p.detach().clone() for p in lower]
        _put(lower, before)
        with sdpa_kernel(SDPBackend.MATH):  # the fast kernels cannot be differentiated twice
            slopes = torch.autograd.grad(self.losses(train)["loss"], lower, create_graph=True, allow_unused=True)
        pairs = [(g, v) for g, v in zip(slopes, pull, strict=True) if g is not None and v is not None]
        second = torch.autograd.grad(
            [g for g, _ in pairs], upper, grad_outputs=[v for _, v in pairs], allow_unused=True
        )
        _put(lower, after)
        factor = self._factor(upper, second)
        for p, term in zip(upper, second, strict=True):
            if term is not None:
                p.grad = term * factor if p.grad is None else p.grad + term * factor

    def _factor(self, upper: Sequence[nn.Parameter], second: Sequence[Tensor | None]) -> float:
        """Factor of the second term: 1, or less where its norm exceeds the limit."""
        if self.limit is None:
            return 1.0
        first_norm, second_norm = _norm([p.grad for p in upper]), _norm(second)
        return min(1.0, self.limit * first_norm / second_norm) if second_norm > 0 else 1.0


def _norm(tensors: Sequence[Tensor | None]) -> float:
    """Joint norm of the tensors that are not None."""
    return float(sum(float(t.detach().square().sum()) for t in tensors if t is not None) ** 0.5)


def parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    """All parameters of an optimizer, in its order."""
    return [p for group in optimizer.param_groups for p in group["params"]]


@torch.no_grad()
def update_slope(optimizer: Optimizer) -> list[Tensor]:
    """P = dW+/dg, elementwise, of the last step of an AdamW or plain SGD; call it before the gradients are zeroed.

    AdamW: W+ = ... - lr m^ / (sqrt(v^) + eps), m^ = m / (1 - b1^t), v^ = v / (1 - b2^t), and m and v contain g:

        P = -lr [ (1 - b1) / (1 - b1^t) / d  -  m^ (1 - b2) g / ((1 - b2^t) sqrt(v^) d^2) ],  d = sqrt(v^) + eps.

    Where gradient and moments are all zero (the A of a LoRA at its first step) the slope is set to 0.
    """
    slopes = []
    for group in optimizer.param_groups:
        for p in group["params"]:
            state = optimizer.state.get(p, {})
            if p.grad is None:
                slopes.append(torch.zeros_like(p))
            elif "exp_avg_sq" not in state:
                slopes.append(torch.full_like(p, -group["lr"]))
            else:
                slopes.append(_adam_slope(p.grad, group, state))
    return slopes


def _adam_slope(g: Tensor, group: Mapping[str, Any], state: Mapping[str, Any]) -> Tensor:
    (b1, b2), t = group["betas"], float(state["step"])
    c1, c2 = 1 - b1**t, 1 - b2**t
    mean, root = state["exp_avg"] / c1, (state["exp_avg_sq"] / c2).sqrt()
    d = root + group["eps"]
    slope = (1 - b1) / c1 / d - mean * (1 - b2) * g / (c2 * root * d.square())
    return torch.where(root > 0, -group["lr"] * slope, 0.0)


@torch.no_grad()
def _put(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    for p, value in zip(parameters, values, strict=True):
        p.copy_(value)


__all__ = ["HYPERGRADIENT", "Bilevel", "parameters", "update_slope"]
