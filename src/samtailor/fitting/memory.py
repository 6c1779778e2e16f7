"""The largest batch that the memory holds (`batch_size: auto`).

On a GPU one real step is tried with each size until memory runs out. On a CPU memory must not run out, so the tensors
that two small steps keep for their gradients are counted, and the size follows from the memory that is available.
The steps run on a copy of the adapter, which is thrown away.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from samtailor.errors import InputError
from samtailor.structures import Batch

if TYPE_CHECKING:
    from accelerate import Accelerator

    from samtailor.segmenter import Segmenter
    from samtailor.train.step import Step, StepFeeds

_log = logging.getLogger("samtailor.fitting")

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Sizes that are considered."""
_SHARE = 0.5  # of the available memory of a CPU, which other programs need too
_GPU_SHARE = 0.9  # of the memory of a GPU: its allocator fragments
_OVERHEAD = 2.0  # temporary tensors and gradients, as a multiple of the kept tensors


def memory_batch_size(step: Step, segmenter: Segmenter, feeds: StepFeeds, accelerator: Accelerator, ahead: int) -> int:
    """Masks per batch and process for which there is memory.

    Args:
        step: bound to `segmenter`; both are changed.
        segmenter: a copy of the adapter to fit.
        feeds: of the step, with batches of one mask.
        accelerator: defines the device.
        ahead: batches that are prepared ahead.

    Raises:
        InputError: not even a batch of one mask fits.
    """
    device = accelerator.device
    first, second = (None if feed is None else feed.batch(0) for feed in (feeds.train, feeds.second))
    if segmenter.on_start is not None and first is not None:
        with torch.no_grad():
            segmenter.on_start([first.to(device)])

    def run(size: int) -> int:
        batches = [None if one is None else repeated(one, size).to(device) for one in (first, second)]
        train, other = batches
        if train is not None:
            step(train, other)
        return sum(bytes_of(one) for one in batches if one is not None)

    sizes = [size for size in SIZES if size <= len(feeds.train)]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        fits = fits_on_gpu(run, device) if device.type == "cuda" else fits_on_cpu(run, available_bytes(), ahead)
        size = largest_batch(fits, sizes)
    accelerator.step = 0  # the trial must not shift the accumulation of gradients
    _log.info("batch_size: %d masks fit in the memory.", size)
    return size


def largest_batch(fits: Callable[[int], bool], sizes: Sequence[int] = SIZES) -> int:
    """The largest of rising sizes that fits; stops at the first that does not.

    Args:
        fits: whether a batch of this size fits.
        sizes: rising, at least one.

    Raises:
        InputError: not even the first one fits.
    """
    largest = None
    for size in sizes:
        if not fits(size):
            break
        largest = size
    if largest is None:
        raise InputError(
            f"A batch of {sizes[0]} needs more memory than there is. Close other programs, use a smaller base model, "
            "or set batch_size to a number to try it nevertheless."
        )
    return largest


def fits_on_gpu(step: Callable[[int], object], device: torch.device) -> Callable[[int], bool]:
    """A test that runs one step of a size and looks at the memory of a GPU.

    Args:
        step: takes a batch size and runs one step.
        device: the GPU.
    """

    def fits(size: int) -> bool:
        try:
            torch.cuda.reset_peak_memory_stats(device)
            step(size)
            free, _ = torch.cuda.mem_get_info(device)
            peak, present = torch.cuda.max_memory_reserved(device), torch.cuda.memory_reserved(device)
            return peak <= _GPU_SHARE * (free + present)
        except torch.cuda.OutOfMemoryError:
            return False
        finally:
            gc.collect()
            torch.cuda.empty_cache()

    return fits


def fits_on_cpu(step: Callable[[int], object], available: int, ahead: int) -> Callable[[int], bool]:
    """A test that counts what steps of one and of two masks keep for their gradients.

    Args:
        step: takes a batch size, runs one step and returns the bytes of its batch.
        available: bytes of memory that can be used.
        ahead: batches that wait for their turn.
    """
    measured: list[int] = []
    for size in (1, 2):
        with _counting_kept() as kept:
            batch = step(size)
        measured.append(int(_OVERHEAD * kept[0]) + (1 + ahead) * (batch if isinstance(batch, int) else 0))
    each = max(measured[1] - measured[0], 1)
    fixed = max(measured[0] - each, 0)
    return lambda size: fixed + size * each <= _SHARE * available


def available_bytes() -> int:
    """Memory that is available on this machine, or in its container."""
    import psutil

    free = psutil.virtual_memory().available
    limit, used = (_number(Path("/sys/fs/cgroup", name)) for name in ("memory.max", "memory.current"))
    return free if limit is None or used is None else min(free, max(limit - used, 0))


def repeated(batch: Batch, size: int) -> Batch:
    """A batch of `size` masks that repeats those of a batch."""
    return batch[[i % len(batch) for i in range(size)]]


def bytes_of(batch: Batch) -> int:
    """Bytes of the tensors of a batch."""
    tensors: list[Any] = [batch.targets, batch.valid, batch.contours, batch.images]
    tensors += [] if batch.features is None else list(batch.features.tensors())
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)


@contextmanager
def _counting_kept() -> Iterator[list[int]]:
    """Count the bytes of the storages that are kept for gradients, each once; the list holds the sum afterwards."""
    seen: dict[int, int] = {}
    total = [0]

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield total
    total[0] = sum(seen.values())


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not in a container, or "max": no limit
        return None


__all__ = ["SIZES", "available_bytes", "fits_on_cpu", "fits_on_gpu", "largest_batch", "memory_batch_size"]
