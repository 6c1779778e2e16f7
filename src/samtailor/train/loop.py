"""The training loop. Steps and feeds are passed in.

Everything random is a function of (seed, step), so that an interrupted and resumed fit equals an uninterrupted one bit
for bit: batches come from `Feed.batch(step)`, dropout and jitter from a generator seeded with the number of the step,
learning rates from `rate(config, step)`. On a GPU this holds up to its nondeterministic operations.

With several processes (accelerate launch) each process takes its own batches, gradients are averaged before each
update, and all processes validate on the same masks.
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
from samtailor.structures import Batch
from samtailor.train import checkpoint
from samtailor.train.ahead import ahead, workers_for
from samtailor.train.checkpoint import State
from samtailor.train.config import FitConfig, of_group
from samtailor.train.feed import Feed
from samtailor.train.interrupt import Interrupted, signals
from samtailor.train.joint import clip_gradients
from samtailor.train.processes import agreed, averaging, mean, same_start, wait
from samtailor.train.progress import Clock, Progress
from samtailor.train.schedule import Schedule
from samtailor.train.step import Step
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
    finish: bool = False,
    second: Feed | None = None,
    regions: Feed | None = None,
    after_step: Callable[[int], None] | None = None,
) -> State:
    """Train until `config.steps`, load the best state into the segmenter, and return the state with its history.

    Args:
        segmenter: on the device of the accelerator.
        step: updates the parameters with one batch of each feed.
        optimizers: the bare optimizers that `step` moves, by group.
        feed: batches to train on.
        held_out: masks to validate on; None: the last state is the best.
        config: resolved settings.
        accelerator: from `processes.make_accelerator`.
        file: the checkpoint.
        resume: continue from `file` if it exists.
        progress: called after every step.
        stop: polled after every step; True has the effect of Ctrl-C.
        finish: with `resume` and a checkpoint, end with the best state so far instead of training on.
        second: second batches of a step that takes two (`Bilevel`, `MultiTask`).
        regions: held-out regions to validate on without a prompt; the best state then has the best mean of both scores.
        after_step: called in the main process with the number of steps done, before the checkpoint of that step.

    Raises:
        Interrupted: stopped after the checkpoint was written.
        InputError: the loss became infinite or NaN.
        ArtefactError: the checkpoint cannot be resumed from.
        LostProcess: another process of the fit has ended.
    """
    device, scaler, total = accelerator.device, accelerator.scaler, config.steps
    masks = feed.masks_per_step * config.grad_accum_steps
    state = checkpoint.load(file, segmenter, optimizers, scaler) if resume and file.exists() else State()
    same_start(state.step, accelerator)
    if state.step and state.masks_per_step != masks:
        raise InputError(
            f"This fit took {state.masks_per_step} masks per step, now it would take {masks}. "
            "Resume it with the same number of processes."
        )
    state.masks_per_step = masks
    total = state.step if finish and state.step else total
    hooks = [averaging(optimizer, accelerator) for optimizer in optimizers.values()]
    hooks += [
        clip_gradients(optimizer, of_group(config.max_grad_norm, group)) for group, optimizer in optimizers.items()
    ]
    numbers = range(state.step * config.grad_accum_steps, total * config.grad_accum_steps)
    workers = workers_for(device.type, config.feed_workers)
    batches = ahead(feed.batch, numbers, workers)
    second_batches: Iterator[Batch | None] = (
        ahead(second.batch, numbers, workers) if second is not None else repeat(None)
    )
    clock = Clock(state.step, total, masks)
    with _own_generator(device), signals() as signalled:
        if state.step == 0:
            _start(segmenter, [part for part in (feed, second) if part is not None], device)
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
                batch, other = next(batches).to(device), next(second_batches)
                _record(state, mean(step(batch, None if other is None else other.to(device)), accelerator), number)
            state.step = number + 1
            if state.step % math.ceil(total / _CURVE) == 0 or state.step == total:
                _log(state, accelerator)
            if state.step % config.validate_every == 0 or state.step == total:
                _validate(state, segmenter, (held_out, regions), config, accelerator)
            if after_step is not None and accelerator.is_main_process:
                after_step(state.step)
            if progress is not None and accelerator.is_main_process:
                progress(clock.progress(state))
            stopping = agreed(bool(signalled) or (stop is not None and stop()), accelerator) and state.step < total
            if stopping or state.step % config.save_every == 0 or state.step == total:
                if accelerator.is_main_process:
                    checkpoint.save(file, state, segmenter, optimizers, scaler)
                wait(accelerator)
            if stopping:
                raise Interrupted(f"Stopped after step {state.step} of {total}. Continue with --resume.")
    for handle in hooks:
        handle.remove()
    if state.best is not None:
        segmenter.load_learned(state.best)
    return state


def rate(config: FitConfig, step: int, group: str = "lower") -> float:
    """Learning rate of a group of parameters at a step, counted from 0."""
    schedule = Schedule(config.schedule, config.warmup, config.milestones, config.gamma, config.power)
    return schedule.rate(of_group(config.lr, group), step, config.steps)


def _start(segmenter: Segmenter, feeds: Sequence[Feed], device: torch.device) -> None:
    """Pass one epoch of every feed to `Segmenter.on_start`."""
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
    feeds: tuple[Feed | None, Feed | None],
    config: FitConfig,
    accelerator: Accelerator,
) -> None:
    """Validate, and keep the state if it is better than all earlier ones."""
    held_out, regions = feeds
    if held_out is None:
        return
    validation = validate(segmenter, held_out, config.eval_masks, accelerator.device)
    figures = validation.figures()
    reached = figures[config.selection_score]
    if regions is not None:
        of_regions = validate(segmenter, regions, config.eval_masks, accelerator.device).figures()
        figures["region_miou"] = of_regions["miou"]
        reached = figures["reached"] = (reached + of_regions[config.selection_score]) / 2
    state.history["held_out"].append({"step": state.step, **figures})
    accelerator.log({f"held_out/{name}": value for name, value in figures.items()}, step=state.step)
    if state.start_validation is None and state.step == 0:
        state.start_validation = validation
    if state.best_miou is None or reached > state.best_miou:
        state.best = {name: tensor.clone() for name, tensor in segmenter.learned().items()}
        state.best_step, state.best_miou, state.best_validation = state.step, reached, validation


def _seed(seed: int, step: int, process: int) -> int:
    return int(np.random.SeedSequence([seed, 4, step, process]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def _own_generator(device: torch.device) -> Iterator[None]:
    """Restore the global generators of torch afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


__all__ = ["Interrupted", "Progress", "rate", "run"]
