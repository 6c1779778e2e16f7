"""Train the bundled base on a CPU or a GPU; every call continues where the last one stopped.

    # stage 1: neck and decoder on cached features of the frozen trunk (see bundled_base/cache.py)
    python tools/train_bundled_base.py --run RUN --trunk LITE2.pth --cache CACHE --minutes 60
    # stage 2: the trunk too, at a small rate, on fresh views
    python tools/train_bundled_base.py --run RUN2 --start BASE.safetensors --trunk-rate 0.1 --data D --data-open O \
        --drawings P --minutes 60 --device cuda --batch 32 --workers 12
    # write the averaged weights in fp16: to a file with which a run can start, or as the bundled base of the package
    python tools/train_bundled_base.py --run RUN --export BASE.safetensors
    python tools/train_bundled_base.py --run RUN --export src/samtailor/bases/lite
    # the same from weights that were exported to a file
    python tools/train_bundled_base.py --start BASE.safetensors --export src/samtailor/bases/lite

RUN and CACHE are folders outside the repository; see docs/research/bundled-base-training.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import cv2
import torch
from torch import Tensor, distributed, multiprocessing

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tools")]

from bundled_base import checkpoint, network  # noqa: E402
from bundled_base.evaluation import held_out_sets  # noqa: E402
from bundled_base.feeding import CachedBatches, LiveBatches, load  # noqa: E402
from bundled_base.losses import MaskLoss  # noqa: E402
from bundled_base.trainer import Trainer, rate  # noqa: E402


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder for checkpoints and log")
    parser.add_argument("--start", type=Path, help="a new run begins with these exported weights")
    parser.add_argument("--trunk", type=Path, help="a new run without --start: ImageNet weights of the trunk")
    parser.add_argument(
        "--export", type=Path, help="only write the averaged weights to this .safetensors file or folder"
    )
    parser.add_argument("--evaluate", action="store_true", help="only measure the averaged weights; see --held-out")
    parser.add_argument("--cache", type=Path, help="stage 1: folder of cached features; without it, fresh views")
    parser.add_argument("--data", type=Path, help="folder with street_fashion, nuclei, facades and evaluation sets")
    parser.add_argument("--data-open", type=Path, help="folder with the openly licensed sets")
    parser.add_argument("--drawings", type=Path, help="folder of prepared drawings")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=network.SIZE, help="side of the images; that of the cached views")
    parser.add_argument("--batch", type=int, default=8, help="images a step and process")
    parser.add_argument("--clicks", type=int, default=6, help="single clicks an image")
    parser.add_argument("--others", type=int, default=2, help="boxes or point groups an image")
    parser.add_argument("--corrections", type=float, default=0.0, help="share of steps with a corrective click")
    parser.add_argument(
        "--rounds", type=int, default=2, help="further clicks in half of the steps with a corrective one"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="wall clock of this call")
    parser.add_argument("--finish", action="store_true", help="let the learning rate fall to 0 over these minutes")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--trunk-rate", type=float, default=0.0, help="stage 2: learning rate of the trunk, a factor")
    parser.add_argument("--warm-up", type=int, default=150, help="steps")
    parser.add_argument("--early", type=int, default=1500, help="steps in which balanced cross-entropy fades out")
    parser.add_argument("--dense", type=float, default=0.5, help="weight of the dense training heads")
    parser.add_argument("--average", type=float, default=0.998, help="decay of the averaged weights, per step")
    parser.add_argument("--workers", type=int, default=0, help="background processes that make fresh views")
    parser.add_argument("--processes", type=int, default=1, help="on a shared CPU, 2 of one thread each are faster")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--compile", action="store_true", help="compile the mask loss; needs a C++ compiler")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluate-every", type=float, default=20.0, help="minutes")
    parser.add_argument("--held-out", type=float, default=0.4, help="share of the evaluation sets")
    parser.add_argument("--save-every", type=float, default=3.0, help="minutes")
    args = parser.parse_args(words)
    if not args.run and not (args.export and args.start):
        parser.error("--run is required, except with --start FILE --export FOLDER")
    return args


class Clock:
    """When to evaluate, save and stop: decided by the first process, by wall clock, for all."""

    def __init__(self, args: argparse.Namespace) -> None:
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


def batches(args: argparse.Namespace, seed: int) -> Iterable[dict[str, Tensor]]:
    """Cached views where a cache is given, else fresh ones."""
    prompts = (args.batch, args.clicks, args.others, seed)
    if args.cache:
        return CachedBatches(args.cache, *prompts)
    return load(LiveBatches((args.data, args.data_open, args.drawings), args.size, *prompts), args.workers)


def train(trainer: Trainer) -> None:
    """Train for `--minutes` of wall clock, evaluating and saving on the way."""
    args, first = trainer.args, trainer.rank == 0
    held_out = held_out_sets(args.data, args.data_open, args.held_out) if first and args.data else {}
    seed = args.seed + 1 + trainer.progress["step"] + 500_000 * trainer.rank
    data = batches(args, seed)
    clock, share, last, begin = Clock(args), 0.0, time.monotonic(), trainer.progress["step"]
    sums: dict[str, list[float]] = {}
    for count, batch in enumerate(data, 1):
        sums.setdefault("wait", []).append(time.monotonic() - last)  # seconds a step in which the network is idle
        for name, value in trainer.step(batch, rate(args, trainer.progress["step"] - begin, share)).items():
            sums.setdefault(name, []).append(value)
        share, evaluate, save = clock.read(trainer)
        sums.setdefault("step_seconds", []).append(time.monotonic() - last)
        trainer.progress["seconds"] += sums["step_seconds"][-1]
        if first and count % 50 == 0:
            report(trainer, {k: sum(v) / len(v) for k, v in sums.items()}, len(batch["masks"]))
            sums = {}
        if save:
            checkpoint.save(args.run, trainer)
        if first and evaluate and held_out:
            checkpoint.log(args.run, trainer, {"held_out": trainer.evaluate(held_out)})
        if share >= 1:
            break
        last = time.monotonic()


def report(trainer: Trainer, means: dict[str, float], batch: int) -> None:
    """Log the losses and the speed, and stop if a loss is not finite."""
    speed = {"images_per_second": round(batch * trainer.world / means["step_seconds"], 2)}
    checkpoint.log(trainer.args.run, trainer, {k: round(v, 4) for k, v in means.items()} | speed)
    if not all(math.isfinite(v) for v in means.values()):
        raise SystemExit("The loss is not finite; go back to the last checkpoint with a smaller --lr.")


def work(rank: int, args: argparse.Namespace) -> None:
    """One process of the training."""
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(args.seed + rank)
    if args.processes > 1:
        distributed.init_process_group(
            "gloo" if args.device == "cpu" else "nccl",
            init_method=f"file://{args.run.resolve()}/meet",
            rank=rank,
            world_size=args.processes,
            timeout=timedelta(minutes=30),
        )
    MaskLoss.compiled = args.compile
    trainer = Trainer(args, rank)
    torch.manual_seed(args.seed + 1 + trainer.progress["step"] + 1000 * rank)
    if rank == 0:
        size = sum(p.numel() for p in trainer.model.parameters())
        print(json.dumps({"pid": os.getpid(), "parameters": size} | trainer.progress), flush=True)
    train(trainer)
    os._exit(0)


def main() -> None:
    """Train, or export."""
    args = options()
    if not args.run:
        checkpoint.pretrained(args.start, args.export)
        return
    args.run.mkdir(parents=True, exist_ok=True)
    if args.export:
        checkpoint.export(args.run, args.export)
    elif args.evaluate:
        torch.set_num_threads(args.threads)
        trainer = Trainer(args)
        sets = held_out_sets(args.data, args.data_open, args.held_out)
        checkpoint.log(args.run, trainer, {"share": args.held_out, "held_out": trainer.evaluate(sets)})
    elif args.processes == 1:
        work(0, args)
    else:
        (args.run / "meet").unlink(missing_ok=True)
        multiprocessing.spawn(work, (args,), nprocs=args.processes)


if __name__ == "__main__":
    main()
