"""Train the bundled base `nano` on a CPU or a GPU: open-ended trunk, resumable, then a decay phase.

    python tools/train_nano.py --run RUN --size 128 --batch 32 --minutes 20      # trunk, small images
    python tools/train_nano.py --run RUN --size 256 --batch 12 --minutes 60      # trunk goes on where it stopped
    python tools/train_nano.py --run RUN --size 256 --batch 12 --minutes 20 --finish
    python tools/train_nano.py --run RUN --export src/samtailor/bases/nano       # write fp16 weights and figures

RUN is a folder outside the repository; see tools/README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import torch
from torch import distributed, multiprocessing

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tools")]

from nano import checkpoint, network  # noqa: E402
from nano.evaluation import HeldOut, normalise  # noqa: E402
from nano.feeding import Batches, feed  # noqa: E402
from nano.losses import Dense, prompt_losses  # noqa: E402
from nano.optimisers import Optimisers  # noqa: E402


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoints and log")
    parser.add_argument("--start", type=Path, help="a new run begins with the weights of this exported base")
    parser.add_argument("--export", type=Path, help="do not train: write the averaged weights there")
    parser.add_argument("--photographs", type=Path, help="street_fashion folder; without it, scenes only")
    parser.add_argument("--share", type=float, default=0.18, help="share of photographs")
    parser.add_argument("--streets", type=float, default=0.3, help="share of streets with banners in what is painted")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=256, help="side of the images, px")
    parser.add_argument("--batch", type=int, default=12, help="images a step and process")
    parser.add_argument("--clicks", type=int, default=6, help="single clicks an image")
    parser.add_argument("--others", type=int, default=2, help="boxes or point groups an image")
    parser.add_argument("--minutes", type=float, default=60.0, help="wall clock of this call")
    parser.add_argument(
        "--finish", action="store_true", help="let the learning rate fall to nothing over these minutes"
    )
    parser.add_argument("--optimiser", choices=("muon", "adamw"), default="muon")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warm-up", type=int, default=200, help="steps")
    parser.add_argument(
        "--early", type=int, default=2500, help="steps over which balanced cross-entropy gives way to focal loss"
    )
    parser.add_argument("--dense", type=float, default=1.0, help="weight of the dense training heads")
    parser.add_argument("--average", type=float, default=0.998, help="decay of the averaged weights, per step")
    parser.add_argument("--reuse", type=int, default=3, help="views of each scene")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--processes", type=int, default=1, help="on a shared CPU, 2 of one thread each waste less than 1 of two"
    )
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", type=int, default=150, help="scenes of an evaluation")
    parser.add_argument("--evaluate-every", type=float, default=6.0, help="minutes")
    parser.add_argument("--save-every", type=float, default=3.0, help="minutes")
    return parser.parse_args()


class Trainer:
    """Model, training heads, optimisers and averaged weights of one run, and where they are kept."""

    def __init__(self, args: argparse.Namespace, rank: int = 0):
        self.args, self.rank, self.world = args, rank, args.processes
        self.device = torch.device(args.device)
        self.model = network.build(args.seed).to(self.device).train()
        self.dense = Dense().to(self.device)
        self.features, self.decode = network.Features(self.model), network.Decode(self.model)
        self.optimisers = Optimisers([self.model, self.dense], args.optimiser, rank=rank, world=args.processes)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.progress = {"step": 0, "images": 0, "seconds": 0.0}
        if not checkpoint.load(args.run, self) and args.start:
            checkpoint.start(args.start, self)

    def step(self, batch: dict[str, torch.Tensor], lr: float) -> dict[str, float]:
        """One step on one batch; returns the losses."""
        batch = {k: v.to(self.device, non_blocking=True) for k, v in batch.items()}
        losses = self.losses(batch)
        total = losses["mask"] + losses["iou"] + self.args.dense * (0.5 * losses["affinity"] + 0.3 * losses["border"])
        total.backward()
        self.optimisers.step(lr)
        self.progress["step"] += 1
        self.progress["images"] += len(batch["image"]) * self.world
        self._average()
        return {name: float(value.detach()) for name, value in losses.items()}

    def losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """All losses of a batch."""
        early = max(0.0, 1 - self.progress["step"] / max(1, self.args.early))
        masks = batch["masks"].float() / 255
        clicks = batch["clicks"]
        ones = torch.ones(clicks.shape[:3], dtype=torch.long, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            levels = self.features(normalise(batch["image"]))
            losses = self.dense(*levels, batch["objects"], batch["parts"], batch["complete"])
            found = [self.decode(*levels, clicks, ones), self.decode(*levels, batch["points"], batch["labels"])]
        logits, scores = (torch.cat(x, dim=1).float() for x in zip(*found, strict=True))
        return losses | prompt_losses(logits, scores, masks, batch["targets"], early)

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.args.average, (1 + self.progress["step"]) / (10 + self.progress["step"]))
        now = self.model.state_dict()
        names = [k for k, v in self.average.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.average[k] for k in names], [now[k] for k in names], 1 - keep)

    def evaluate(self, held_out: HeldOut) -> dict[str, float]:
        """Mean IoUs of the averaged weights."""
        own = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        network.set_size(self.model, network.SIZE)
        rows = held_out.measure(self.features, self.decode)
        self.model.load_state_dict(own)
        network.set_size(self.model, self.args.size)
        return {name: round(float(values.mean()), 4) for name, values in rows.items() if name != "image"}


def rate(args: argparse.Namespace, step: int, share: float) -> float:
    """Learning rate: warm-up, constant, and with ``--finish`` a straight line down to nothing."""
    lr = args.lr * min(1.0, (step + 1) / args.warm_up)
    return lr * max(0.0, 1 - share) if args.finish else lr


class Clock:
    """When to evaluate, save and stop: decided by the first process, by wall clock, for all."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.start = args, time.monotonic()
        self.evaluated = self.saved = self.start

    def read(self, trainer: Trainer) -> tuple[float, bool, bool]:
        """Share of the minutes that is over, whether to evaluate, whether to save."""
        now = time.monotonic()
        share = (now - self.start) / (60 * self.args.minutes)
        evaluate = share >= 1 or now - self.evaluated > 60 * self.args.evaluate_every
        save = share >= 1 or now - self.saved > 60 * self.args.save_every
        signal = torch.tensor([share, evaluate, save], dtype=torch.float64)
        if trainer.world > 1:
            distributed.broadcast(signal, 0)
        if signal[1]:
            self.evaluated = now
        if signal[2]:
            self.saved = now
        return float(signal[0]), bool(signal[1]), bool(signal[2])


def train(trainer: Trainer) -> None:
    """Train for ``--minutes`` of wall clock, evaluating and saving on the way."""
    args, first = trainer.args, trainer.rank == 0
    held_out = HeldOut(args.held_out) if first else None
    network.set_size(trainer.model, args.size)
    data = Batches(
        size=args.size,
        batch=args.batch,
        clicks=args.clicks,
        others=args.others,
        seed=args.seed + 1 + trainer.progress["step"] + 500_000 * trainer.rank,
        photographs=args.photographs,
        share=args.share,
        streets=args.streets,
        reuse=args.reuse,
    )
    clock, share, sums, last = Clock(args), 0.0, {}, time.monotonic()
    for count, batch in enumerate(feed(data, args.workers), 1):
        sums["wait"] = sums.get("wait", 0.0) + time.monotonic() - last  # seconds a step that the network stood idle
        for name, value in trainer.step(batch, rate(args, trainer.progress["step"], share)).items():
            sums[name] = sums.get(name, 0.0) + value
        share, evaluate, save = clock.read(trainer)
        trainer.progress["seconds"] += time.monotonic() - last
        if first and count % 25 == 0:
            report(trainer, {k: v / 25 for k, v in sums.items()})
            sums = {}
        if first and evaluate:
            checkpoint.log(args.run, trainer, {"held_out": trainer.evaluate(held_out)})
        if save:
            checkpoint.save(args.run, trainer)
        if share >= 1:
            break
        last = time.monotonic()


def report(trainer: Trainer, means: dict[str, float]) -> None:
    """Log the losses, and stop if they have gone astray."""
    checkpoint.log(trainer.args.run, trainer, {k: round(v, 4) for k, v in means.items()})
    if not all(math.isfinite(v) for v in means.values()):
        raise SystemExit("The loss is not finite; go back to the last checkpoint with a smaller --lr.")


def work(rank: int, args: argparse.Namespace) -> None:
    """One process of the training."""
    torch.set_num_threads(args.threads)
    if args.processes > 1:
        distributed.init_process_group(
            "gloo" if args.device == "cpu" else "nccl",
            init_method=f"file://{args.run.resolve()}/meet",
            rank=rank,
            world_size=args.processes,
        )
    trainer = Trainer(args, rank)
    if rank == 0:
        size = sum(p.numel() for p in trainer.model.parameters())
        print(json.dumps({"pid": os.getpid(), "parameters": size} | trainer.progress), flush=True)
    train(trainer)
    os._exit(0)  # the loader's workers wait for room in their queue; nothing is left to save


def main() -> None:
    """Train, or export."""
    args = options()
    args.run.mkdir(parents=True, exist_ok=True)
    if args.export:
        print(json.dumps(checkpoint.export(args.export, Trainer(args), args.held_out), indent=2))
    elif args.processes == 1:
        work(0, args)
    else:
        (args.run / "meet").unlink(missing_ok=True)
        multiprocessing.spawn(work, (args,), nprocs=args.processes)


if __name__ == "__main__":
    main()
