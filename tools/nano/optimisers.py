"""Muon for matrices, AdamW for the rest, over one process or several."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors


class Optimisers:
    """Muon for the network's matrices; AdamW for embeddings, convolutions, norms, biases and training heads.

    With several processes gradients are averaged over them, and each process takes Muon's costly
    step for its own share of the matrices and sends the result round.
    """

    def __init__(
        self, modules: list[nn.Module], kind: str = "muon", *, rank: int = 0, world: int = 1, clip: float = 1.0
    ):
        self.parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        self.clip, self.world = clip, world
        linear = [m.weight for m in modules[0].modules() if isinstance(m, nn.Linear) and min(m.weight.shape) > 8]
        self.shares = _shares(linear, world) if kind == "muon" else []
        taken = {id(p) for share in self.shares for p in share}
        rest = [p for p in self.parameters if id(p) not in taken]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.02},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.all = [torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)]
        if self.shares:
            self.all.append(
                torch.optim.Muon(self.shares[rank], lr=1e-3, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
            )

    def step(self, lr: float) -> None:
        """Average and clip the gradients, step, and clear them."""
        if self.world > 1:
            self._average_gradients()
        nn.utils.clip_grad_norm_(self.parameters, self.clip)
        for optimiser in self.all:
            for group in optimiser.param_groups:
                group["lr"] = lr
            optimiser.step()
        for p in self.parameters:
            p.grad = None
        if self.world > 1:
            self._exchange()

    def _average_gradients(self) -> None:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        flat = _flatten_dense_tensors(gradients)
        distributed.all_reduce(flat)
        flat /= self.world
        torch._foreach_copy_(gradients, _unflatten_dense_tensors(flat, gradients))

    @torch.no_grad()
    def _exchange(self) -> None:
        for source, share in enumerate(self.shares):
            flat = _flatten_dense_tensors(share)
            distributed.broadcast(flat, source)
            torch._foreach_copy_(share, _unflatten_dense_tensors(flat, share))

    def state(self) -> list[dict]:
        """What :meth:`load` takes; with several processes, this one's share."""
        return [optimiser.state_dict() for optimiser in self.all]

    def load(self, state: list[dict]) -> None:
        """Take up a state of :meth:`state`."""
        for optimiser, saved in zip(self.all, state, strict=True):
            optimiser.load_state_dict(saved)


def _shares(matrices: list[Tensor], world: int) -> list[list[Tensor]]:
    """Deal the matrices out so that each process has about the same work."""
    shares, load = [[] for _ in range(world)], [0] * world
    for matrix in sorted(matrices, key=lambda m: -m.numel() * min(m.shape)):
        least = load.index(min(load))
        shares[least].append(matrix)
        load[least] += matrix.numel() * min(matrix.shape)
    return shares
