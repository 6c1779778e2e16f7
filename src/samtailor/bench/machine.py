"""What the machine can do at best: rate of a matrix product, and bandwidth of its memory."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from samtailor.bench.timing import timed
from samtailor.cache.precision import hardware_precision

_SIDE = 1536
_COPIED = 1 << 25  # numbers: 128 MiB, more than any cache
_REPEATS = 3
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Machine:
    """A device as it was measured.

    Args:
        device: "cpu", "cuda", ...
        name: of the processor or GPU.
        threads: of torch.
        rates: operations per second of a large matrix product, by precision. One multiplication and addition are two.
        bandwidth: bytes per second that a large copy reads and writes.
        torch: version.
    """

    device: str
    name: str
    threads: int
    rates: dict[str, float]
    bandwidth: float
    torch: str

    def floor(self, operations: float, moved: float, precision: str = "fp32") -> float:
        """Seconds below which a computation cannot be.

        Args:
            operations: of its matrix products and convolutions.
            moved: bytes that it must read and write.
            precision: of the products.
        """
        return max(operations / self.rates[precision], moved / self.bandwidth)


def measure(device: torch.device) -> Machine:
    """Measure a device; takes about a second.

    On a CPU the rates are those of processor time multiplied by the number of threads, so that programs beside this
    one do not lower them.
    """
    threads = torch.get_num_threads()
    on_cpu = device.type == "cpu"
    precisions = dict.fromkeys(["fp32", hardware_precision(device)])
    rates: dict[str, float] = {}
    for precision in precisions:
        left, right = (torch.randn(_SIDE, _SIDE, device=device).to(_TYPES[precision]) for _ in range(2))
        rates[precision] = 2 * _SIDE**3 / _best(lambda a=left, b=right: a @ b, on_cpu, threads)  # type: ignore[misc]
    source = torch.randn(_COPIED, device=device)
    target = torch.empty_like(source)
    bandwidth = 2 * source.nbytes / _best(lambda: target.copy_(source), on_cpu, threads)
    name = platform.processor() or platform.machine() if on_cpu else torch.cuda.get_device_name(device)
    return Machine(device.type, name, threads, rates, bandwidth, torch.__version__)


def _best(run: Callable[[], Any], on_cpu: bool, threads: int) -> float:
    times = [timed(run) for _ in range(_REPEATS + 1)][1:]
    return min(cpu / threads for _, cpu in times) if on_cpu else min(wall for wall, _ in times)


def operations(run: Callable[[], object]) -> float:
    """Operations of the matrix products and convolutions of a computation, which runs once."""
    # fused attention is not counted on every device, its products are
    with FlopCounterMode(display=False, custom_mapping=_fused()) as counter, sdpa_kernel(SDPBackend.MATH):
        run()
    return float(counter.get_total_flops())


def _fused() -> dict[Any, Any]:
    """Formulas of the convolutions of oneDNN that include an activation or a sum."""
    fused = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)

    def count(x: Any, second: Any, third: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        """(x, weight, bias, ...) with an activation, or (x, summand, weight, ...)."""
        summed = third is not None and len(third) == len(x)
        return conv_flop_count(x, third if summed else second, out_shape)

    return {} if fused is None else {fused: count}


__all__ = ["Machine", "measure", "operations"]
