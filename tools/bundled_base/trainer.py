"""What a step of the training does: model, training heads, optimizers, losses and averaged weights of one run."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from bundled_base import checkpoint, network
from bundled_base.corrections import chosen, correct
from bundled_base.decoder import Decode, Levels, Neck
from bundled_base.evaluation import Item, measure
from bundled_base.feeding import maps
from bundled_base.losses import Dense, prompt_losses, settled
from bundled_base.optimizers import Optimizers


class Trainer:
    """Model, training heads, optimizers and averaged weights of one run."""

    def __init__(self, args: argparse.Namespace, rank: int = 0) -> None:
        self.args, self.rank, self.world = args, rank, args.processes
        self.device = torch.device(args.device)
        self.model = network.build(args.seed).to(self.device).train()
        network.set_size(self.model, args.size)
        self.trunk = self.model.vision_encoder.backbone.trunk
        if args.trunk:
            network.load_trunk(self.model, args.trunk)
        self.dense = Dense((20, 40, 160)).to(self.device)
        self.neck, self.decode = Neck(self.model), Decode(self.model)
        modules = [self.model, self.dense]
        self.optimizers = Optimizers(modules, self.trunk, trunk_rate=args.trunk_rate, rank=rank, world=args.processes)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.progress = {"step": 0, "images": 0, "seconds": 0.0}
        if not checkpoint.load(args.run, self) and args.start:
            checkpoint.start(args.start, self)

    def step(self, batch: dict[str, Tensor], lr: float) -> dict[str, float]:
        """One step on one batch; returns the losses."""
        batch = {k: v.to(self.device, non_blocking=True) for k, v in batch.items()}
        losses = self.losses(batch)
        total = losses["mask"] + losses["iou"] + 0.1 * losses["presence"] + self.args.dense * losses["dense"]
        if "corrected" in losses:
            total = total + losses["corrected"]
        total.backward()
        self.optimizers.step(lr)
        self.progress["step"] += 1
        self.progress["images"] += len(batch["masks"]) * self.world
        self._average()
        return {name: float(value.detach()) for name, value in losses.items()}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """All losses of a batch."""
        early = max(0.0, 1 - self.progress["step"] / max(1, self.args.early))
        ones = torch.ones(batch["clicks"].shape[:3], dtype=torch.long, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            levels = self.neck(self._maps(batch))
            dense = self.dense(levels, batch) if self.args.dense else levels[0].new_zeros(())
            first = self.decode(levels, batch["clicks"], ones)
            second = self.decode(levels, batch["points"], batch["labels"])
        found = [torch.cat(x, dim=1).float() for x in zip(first, second, strict=True)]
        losses = prompt_losses(*found, batch, early) | {"dense": dense}
        if self.args.corrections and torch.rand(()) < self.args.corrections:
            losses["corrected"] = self._corrected(levels, batch, found, ones, early)
        return losses

    def _maps(self, batch: dict[str, Tensor]) -> list[Tensor]:
        """Maps of the trunk (B, h, w, C): cached, or of the batch's images."""
        if "image" not in batch:
            return maps(batch)
        pixels = network.normalize(batch["image"]).contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(self.args.trunk_rate > 0):
            return [x.permute(0, 2, 3, 1) for x in self.trunk(pixels)]

    def _corrected(
        self, levels: Levels, batch: dict[str, Tensor], found: list[Tensor], ones: Tensor, early: float
    ) -> Tensor:
        """Mask and IoU loss after one more click or several: on the single clicks, or on the other prompts."""
        clicks = ones.shape[1]
        single = bool(torch.rand(()) < 0.6)
        rows = slice(0, clicks) if single else slice(clicks, None)
        points, labels = (batch["clicks"], ones) if single else (batch["points"], batch["labels"])
        before = chosen(found[0][:, rows], found[1][:, rows]).detach()
        part = batch | {
            "targets": batch["targets"][:, rows, :1].expand(-1, -1, 4),
            "present": batch["present"][:, rows],
        }
        index = torch.arange(len(before), device=self.device)[:, None]
        wanted = batch["masks"][index, part["targets"][..., 0]].float() / 255
        bands = batch["bands"][index, part["targets"][..., 0]].bool()
        total, rounds = levels[0].new_zeros((), dtype=torch.float32), 1 + int(torch.rand(()) < 0.5) * self.args.rounds
        for _ in range(rounds):
            more, marks = correct(settled(before, wanted, bands), wanted, self.args.size)
            points, labels = torch.cat([points, more], 2), torch.cat([labels, marks], 2)
            masks = before.clamp(-32, 32) if torch.rand(()) < 0.75 else None
            with torch.autocast(self.device.type, torch.bfloat16):
                again = [x.float() for x in self.decode(levels, points, labels, masks)]
            losses = prompt_losses(*again, part, early)
            total = total + (losses["mask"] + losses["iou"]) / rounds
            before = chosen(again[0], again[1]).detach()
        return total

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.args.average, (1 + self.progress["step"]) / (10 + self.progress["step"]))
        now = self.model.state_dict()
        names = [k for k, v in self.average.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.average[k] for k in names], [now[k] for k in names], 1 - keep)

    @torch.inference_mode()
    def trunk_maps(self, item: Item) -> list[Tensor]:
        """Maps of the trunk (1, h, w, C) of one held-out image."""
        pixels = network.normalize(torch.from_numpy(item.image).permute(2, 0, 1)[None].to(self.device))
        with torch.autocast(self.device.type, torch.bfloat16):
            found = self.trunk(pixels.contiguous(memory_format=torch.channels_last))
        return [x.permute(0, 2, 3, 1) for x in found]

    @torch.inference_mode()
    def levels(self, found: list[Tensor]) -> Levels:
        """Decoder inputs of one image, from its maps of the trunk."""
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.neck(found)

    def evaluate(
        self, sets: dict[str, list[Item]], trunk_maps: Callable[[Item], list[Tensor]] | None = None, **options
    ) -> dict[str, dict[str, float]]:
        """Mean IoUs of the averaged weights.

        Args:
            sets: images by name.
            trunk_maps: gives the maps of the trunk where they are known; None computes them.
            options: of `evaluation.measure`.
        """
        maps_of = trunk_maps or self.trunk_maps
        own = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        network.set_size(self.model, network.SIZE)
        rows = {
            name: measure(items, lambda item: self.levels(maps_of(item)), self.decode, **options)
            for name, items in sets.items()
        }
        self.model.load_state_dict(own)
        network.set_size(self.model, self.args.size)
        return rows


def rate(args: argparse.Namespace, step: int, share: float) -> float:
    """Learning rate: warm-up, constant, and with `--finish` a straight line down to 0."""
    lr = args.lr * min(1.0, (step + 1) / args.warm_up)
    return lr * max(0.0, 1 - share) if args.finish else lr
