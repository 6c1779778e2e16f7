"""Muon for matrices, AdamW for the rest, over one process or several."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors


class Optimizers:
    """Muon for the linear layers of what is trained from nothing; AdamW for the trunk and everything else.

    With several processes gradients are averaged over them, and each process takes Muon's costly step for its own
    share of the matrices and sends the result to the others.

    Args:
        modules: what is trained; the first one holds the matrices.
        trunk: pre-trained parameters, which take the learning rate times `trunk_rate`; frozen where that is 0.
        trunk_rate: see `trunk`.
        rank: of this process.
        world: number of processes.
        clip: largest norm of the gradient.
    """

    def __init__(
        self,
        modules: list[nn.Module],
        trunk: nn.Module,
        *,
        trunk_rate: float = 0.0,
        rank: int = 0,
        world: int = 1,
        clip: float = 1.0,
    ) -> None:
        trunk.requires_grad_(trunk_rate > 0)
        self.parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        self.clip, self.world = clip, world
        linear = [m.weight for m in modules[0].modules() if isinstance(m, nn.Linear) and min(m.weight.shape) > 8]
        self.shares = _shares(linear, world)
        taken = {id(p) for share in self.shares for p in share} | {id(p) for p in trunk.parameters()}
        rest = [p for p in self.parameters if id(p) not in taken]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.02, "scale": 1.0},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "scale": 1.0},
        ]
        if trunk_rate > 0:
            groups.append({"params": list(trunk.parameters()), "weight_decay": 0.0, "scale": trunk_rate})
        self.all: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)]
        if self.shares[rank]:
            group = {"params": self.shares[rank], "scale": 1.0}
            self.all.append(torch.optim.Muon([group], lr=1e-3, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"))

    def step(self, lr: float) -> None:
        """Average and clip the gradients, step, and clear them."""
        if self.world > 1:
            self._average_gradients()
        nn.utils.clip_grad_norm_(self.parameters, self.clip)
        for optimizer in self.all:
            for group in optimizer.param_groups:
                group["lr"] = lr * group["scale"]
            optimizer.step()
        for p in self.parameters:
            p.grad = None
        if self.world > 1:
            self._exchange()

    def _average_gradients(self) -> None:
        """Mean over the processes; a parameter without a gradient in one of them counts as 0 there."""
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        flat = _flatten_dense_tensors(gradients)
        distributed.all_reduce(flat)
        flat /= self.world
        for p, gradient in zip(self.parameters, _unflatten_dense_tensors(flat, gradients), strict=True):
            p.grad = gradient

    @torch.no_grad()
    def _exchange(self) -> None:
        for source, share in enumerate(self.shares):
            flat = _flatten_dense_tensors(share)
            distributed.broadcast(flat, source)
            torch._foreach_copy_(share, _unflatten_dense_tensors(flat, share))

    def state(self) -> list[dict]:
        """What `load` takes; with several processes, this one's share."""
        return [optimizer.state_dict() for optimizer in self.all]

    def load(self, state: list[dict]) -> None:
        """Load what `state` returned."""
        for optimizer, saved in zip(self.all, state, strict=True):
            optimizer.load_state_dict(saved)


def _shares(matrices: list[Tensor], world: int) -> list[list[Tensor]]:
    """Distribute the matrices so that each process has about the same work."""
    shares: list[list[Tensor]] = [[] for _ in range(world)]
    load = [0] * world
    for matrix in sorted(matrices, key=lambda m: -m.numel() * min(m.shape)):
        least = load.index(min(load))
        shares[least].append(matrix)
        load[least] += matrix.numel() * min(matrix.shape)
    return shares
