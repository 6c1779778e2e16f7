"""The loop: flat, short, owned. What varies (how a step is taken, where batches come from) is passed in.

Everything random is a function of (seed, step), so that a fit that was interrupted and resumed is, bit for bit, the
fit that was not: batches come from `Feed.batch(step)`, dropout and shaking from a generator seeded with the step's
number, rates from `rate(config, step)`. (On a GPU, up to operations that are not deterministic there.)

Several processes (accelerate launch): every process takes batches of its own, gradients are averaged just before an
optimiser moves, and all of them validate alike, so that nothing else has to be sent around.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch.optim import Optimizer

from samtailor.errors import InputError
from samtailor.segmenter import Segmenter
from samtailor.train import checkpoint
from samtailor.train.ahead import ahead
from samtailor.train.checkpoint import State
from samtailor.train.config import FitConfig, of_group
from samtailor.train.feed import Feed
from samtailor.train.interrupt import Interrupted, signals
from samtailor.train.joint import Step, shortening
from samtailor.train.processes import agreed, averaging, mean
from samtailor.train.progress import Clock, Progress
from samtailor.train.validate import validate

_CURVE = 200  # points of the loss curve


def run(
    segmenter: Segmenter,
    step: Step,
    optimizers: Mapping[str, Optimizer],
    feed: Feed,
    held_out: Feed | None,
    config: FitConfig,
    accelerator: Accelerator,
    *,
    file: Path,
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    upper: Feed | None = None,
    regions: Feed | None = None,
) -> State:
    """Train until `config.steps`, leave the best state in the segmenter, return history and figures.

    Args:
        segmenter: on the accelerator's device.
        step: takes one step on a batch.
        optimizers: the bare optimisers that `step` moves, by group.
        feed: batches to train on.
        held_out: masks to validate on; None: the last state counts as the best.
        config: resolved.
        accelerator: as `processes.make_accelerator` made it.
        file: the checkpoint.
        resume: go on from `file` where it is there.
        progress: called after every step.
        stop: polled after every step; True does what Ctrl-C does.
        upper: second batches, for a step that needs them (`Bilevel`, `MultiTask`); not those to validate on.
        regions: held-out regions to be found without a prompt; the best state is then the best mean of both figures.

    Raises:
        Interrupted: stopped; the checkpoint is written.
        InputError: the loss became infinite or NaN.
        ArtefactError: the checkpoint cannot be resumed from.
    """
    device, scaler, total = accelerator.device, accelerator.scaler, config.steps
    masks = feed.masks_per_step * config.grad_accum_steps
    state = checkpoint.load(file, segmenter, optimizers, scaler) if resume and file.exists() else State()
    if state.step and state.masks_per_step != masks:
        raise InputError(
            f"This fit took {state.masks_per_step} masks a step, now it would be {masks}: other processes?"
        )
    state.masks_per_step = masks
    hooks = [averaging(optimizer, accelerator) for optimizer in optimizers.values()]
    hooks += [shortening(optimizer, of_group(config.max_grad_norm, group)) for group, optimizer in optimizers.items()]
    numbers = range(state.step * config.grad_accum_steps, total * config.grad_accum_steps)
    batches, others = ahead(feed.batch, numbers), ahead(upper.batch, numbers) if upper is not None else repeat(None)
    clock = Clock(state.step, total, masks)
    with _own_generator(device), signals() as signalled:
        if state.step == 0:
            _start(segmenter, [part for part in (feed, upper) if part is not None], device)
            _validate(state, segmenter, (held_out, regions), config, accelerator)
        for number in range(state.step, total):
            for group, optimizer in optimizers.items():
                for parameters in optimizer.param_groups:
                    parameters["lr"] = rate(config, number, group)
            torch.manual_seed(_seed(config.seed, number, accelerator.process_index))
            segmenter.train()
            if segmenter.on_step is not None:
                segmenter.on_step(number / total)
            for _ in range(config.grad_accum_steps):
                lower, held = next(batches).to(device), next(others)
                _record(state, mean(step(lower, None if held is None else held.to(device)), accelerator), number)
            state.step = number + 1
            if state.step % math.ceil(total / _CURVE) == 0 or state.step == total:
                _log(state, accelerator)
            if state.step % config.validate_every == 0 or state.step == total:
                _validate(state, segmenter, (held_out, regions), config, accelerator)
            if progress is not None and accelerator.is_main_process:
                progress(clock.progress(state))
            stopping = agreed(bool(signalled) or (stop is not None and stop()), accelerator) and state.step < total
            if stopping or state.step % config.save_every == 0 or state.step == total:
                if accelerator.is_main_process:
                    checkpoint.save(file, state, segmenter, optimizers, scaler)
                accelerator.wait_for_everyone()
            if stopping:
                raise Interrupted(f"Stopped after step {state.step} of {total}; saved. Go on with --resume.")
    for handle in hooks:
        handle.remove()
    if state.best is not None:
        segmenter.load_learned(state.best)
    return state


def rate(config: FitConfig, step: int, group: str = "lower") -> float:
    """Learning rate of a step (from 0): linear warm-up, then a step decay, half a cosine, poly, or constant."""
    peak = of_group(config.lr, group)
    if step < config.warmup:
        return peak * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    if config.schedule == "poly":
        return peak * (1 - done) ** config.power
    if config.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    if config.schedule == "step":
        return peak * config.gamma ** sum(step >= int(share * config.steps) for share in config.milestones)
    return peak


def _start(segmenter: Segmenter, feeds: Sequence[Feed], device: torch.device) -> None:
    """What begins at the data sees an epoch of every feed."""
    if segmenter.on_start is not None:
        with torch.no_grad():
            segmenter.on_start(
                feed.batch(index).to(device) for feed in feeds for index in range(math.ceil(1 / feed.epoch(1)))
            )


def _record(state: State, figures: Mapping[str, float], number: int) -> None:
    if not math.isfinite(figures["loss"]):
        raise InputError(f"The loss became {figures['loss']} at step {number + 1}. Lower lr, or use precision: no.")
    for name, value in figures.items():
        state.pending[name] = state.pending.get(name, 0.0) + value
    state.pending["n"] = state.pending.get("n", 0) + 1


def _log(state: State, accelerator: Accelerator) -> None:
    count = state.pending.pop("n")
    means = {name: value / count for name, value in state.pending.items()}
    state.pending = {}
    state.history["train"].append({"step": state.step, **means})
    accelerator.log({f"train/{name}": value for name, value in means.items()}, step=state.step)


def _validate(
    state: State,
    segmenter: Segmenter,
    judges: tuple[Feed | None, Feed | None],
    config: FitConfig,
    accelerator: Accelerator,
) -> None:
    """Validate and keep the state if it is the best so far; of equal ones the earlier stays."""
    held_out, regions = judges
    if held_out is None:
        return
    figures = validate(segmenter, held_out, config.eval_masks, accelerator.device)
    reached = figures["miou"]
    if regions is not None:
        figures["region_miou"] = validate(segmenter, regions, config.eval_masks, accelerator.device)["miou"]
        reached = figures["reached"] = (reached + figures["region_miou"]) / 2
    state.history["held_out"].append({"step": state.step, **figures})
    accelerator.log({f"held_out/{name}": value for name, value in figures.items()}, step=state.step)
    if state.best_miou is None or reached > state.best_miou:
        state.best = {name: tensor.clone() for name, tensor in segmenter.learned().items()}
        state.best_step, state.best_miou = state.step, reached


def _seed(seed: int, step: int, process: int) -> int:
    return int(np.random.SeedSequence([seed, 4, step, process]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def _own_generator(device: torch.device) -> Iterator[None]:
    """torch's global generators are the caller's again afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


__all__ = ["Interrupted", "Progress", "rate", "run"]
