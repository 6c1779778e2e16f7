"""accelerate for a fit: device, precision, trackers, and reductions over several processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from samtailor.errors import InputError, SamtailorError
from samtailor.train.config import FitConfig

Value = TypeVar("Value")


class LostProcess(SamtailorError):
    """Another process of the same fit has ended or cannot be reached."""


def make_accelerator(config: FitConfig, folder: Path) -> Accelerator:
    """An Accelerator for a config. Its process-wide state is reset, so that later fits may have other settings.

    Raises:
        InputError: no such device, a tracker that is not installed, processes that do not join, or fp16 with several
            processes.
    """
    from accelerate.state import AcceleratorState, GradientState

    if config.device not in ("auto", "cpu"):
        os.environ["ACCELERATE_TORCH_DEVICE"] = _device(config.device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
    try:
        made = Accelerator(
            mixed_precision=config.precision,
            gradient_accumulation_steps=config.grad_accum_steps,
            cpu=config.device == "cpu",
            log_with=list(_trackers(config)) or None,
            project_dir=str(folder),
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(f"accelerate cannot set up this run: {error}") from error
    finally:
        os.environ.pop("ACCELERATE_TORCH_DEVICE", None) if config.device not in ("auto", "cpu") else None
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if made.num_processes != started:  # each process would fit alone into the same folder
        raise InputError(
            f"{started} processes were started, but accelerate joins {made.num_processes}. Without a GPU, add --device "
            "cpu (device: cpu)."
        )
    if made.num_processes > 1 and config.precision == "fp16":
        raise InputError("fp16 with several processes is not supported (they may skip different steps). Use bf16.")
    return made


def start_trackers(accelerator: Accelerator, config: FitConfig) -> None:
    """Start the trackers; tensorboard writes to OUT/logs."""
    if accelerator.log_with:
        plain = {k: v for k, v in config.to_dict().items() if isinstance(v, int | float | str)}
        accelerator.init_trackers("logs", config=plain)


def _device(name: str) -> str:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(
            f"The device {name!r} cannot be used: {reason}. Devices: auto, cpu, cuda, cuda:N, mps."
        ) from error
    return name


def _trackers(config: FitConfig) -> tuple[str, ...]:
    if config.trackers is not None:
        return config.trackers
    from accelerate.utils import is_tensorboard_available

    return ("tensorboard",) if is_tensorboard_available() else ()


def averaging(optimizer: Optimizer, accelerator: Accelerator) -> RemovableHandle:
    """Average gradients over the processes before each update.

    This replaces a distributed wrapper of the segmenter: modules that only take part in the loss (PMM) are not in
    `forward`, and only a few megabytes are averaged.
    """

    def average(*_: Any) -> None:
        if accelerator.num_processes > 1:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                    with _together():
                        parameter.grad = accelerator.reduce(gradient, "mean")

    return optimizer.register_step_pre_hook(average)


def mean(figures: Mapping[str, float], accelerator: Accelerator) -> Mapping[str, float]:
    """Figures of a step averaged over the processes, so that all processes log the same values."""
    if accelerator.num_processes == 1:
        return figures
    with _together():
        values = accelerator.reduce(torch.tensor(list(figures.values()), device=accelerator.device), "mean")
    return dict(zip(figures, values.tolist(), strict=True))


def agreed(stopping: bool, accelerator: Accelerator) -> bool:
    """Whether any process has to stop; all processes must stop at the same step."""
    if accelerator.num_processes == 1:
        return stopping
    count = torch.tensor(float(stopping), device=accelerator.device)
    with _together():
        return bool(accelerator.reduce(count, "sum") > 0)


def smallest(number: int, accelerator: Accelerator) -> int:
    """The smallest of the numbers of all processes."""
    if accelerator.num_processes == 1:
        return number
    with _together():
        numbers = accelerator.gather(torch.tensor([number], device=accelerator.device))
    return int(numbers.min())


def same_start(step: int, accelerator: Accelerator) -> None:
    """Check that all processes continue from the same step.

    Raises:
        InputError: they do not, since they have not found the same checkpoint.
    """
    if accelerator.num_processes == 1:
        return
    with _together():
        steps = accelerator.gather(torch.tensor([step], device=accelerator.device)).tolist()
    if len(set(steps)) > 1:
        raise InputError(
            f"The processes would continue from different steps ({', '.join(str(step) for step in steps)}), so they do "
            "not read the same checkpoint. With several machines --out must be a folder that all of them share."
        )


def wait(accelerator: Accelerator) -> None:
    """Wait until all processes have arrived here."""
    with _together():
        accelerator.wait_for_everyone()


def from_first(value: Value, accelerator: Accelerator) -> Value:
    """The value of the first process, in all of them."""
    if accelerator.num_processes == 1:
        return value
    from accelerate.utils import broadcast_object_list

    with _together():
        return broadcast_object_list([value])[0]


@contextmanager
def _together() -> Iterator[None]:
    """Around every operation that needs all processes: say in words that one of them is gone.

    gloo and NCCL report it as a RuntimeError whose message depends on how the other process ended.
    """
    try:
        yield
    except RuntimeError as error:
        if "out of memory" in str(error).lower():
            raise
        reason = str(error).strip().partition("\n")[0].partition(". ")[0]
        raise LostProcess(
            "Another process of this fit has ended or cannot be reached, so this one stops too. Look for the first "
            "error above, or a process that the system ended. Start the same command again with --resume to continue "
            f"from the last checkpoint. ({reason})"
        ) from error


__all__ = [
    "LostProcess",
    "agreed",
    "averaging",
    "from_first",
    "make_accelerator",
    "mean",
    "same_start",
    "smallest",
    "start_trackers",
    "wait",
]
