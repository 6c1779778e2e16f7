"""Cost of a fit: trained parameters, seconds, memory; stored as cost.json in its folder.

On a CPU, memory is the peak resident memory of the whole process during the fit, sampled fifty times a second. It
includes Python, torch, the base, and memory that an earlier fit in the same process has not released. On a GPU it is
the peak memory allocated by torch.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.data.writing import write_json

if TYPE_CHECKING:
    import torch

FILE = "cost.json"
_INTERVAL = 0.02  # seconds between two samples of the memory
_MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """Cost of one fit.

    Args:
        parameters: number of trained parameters.
        seconds: wall time of the fit with its validations, without encoding images; None if unknown.
        encode_seconds: time to encode the images of the fit once; 0 if the encoder runs inside the fit.
        peak_memory_mib: peak memory, see above; None if unknown.
        encoder_cached: whether the fit runs on cached embeddings.
        cpu_seconds: processor time of all threads, comparable even if other programs run on the machine.
        threads: number of torch's threads.
        resumed: whether the fit was interrupted; the seconds are those of all its parts.
    """

    parameters: int
    seconds: float | None
    encode_seconds: float | None
    peak_memory_mib: float | None
    encoder_cached: bool
    cpu_seconds: float | None = None
    threads: int | None = None
    resumed: bool = False

    def after(self, earlier: Cost | None) -> Cost:
        """Cost of the whole fit, with the part before it was interrupted."""
        if earlier is None:
            return self
        peaks = [cost.peak_memory_mib for cost in (self, earlier) if cost.peak_memory_mib is not None]
        return replace(
            self,
            seconds=_sum(self.seconds, earlier.seconds),
            cpu_seconds=_sum(self.cpu_seconds, earlier.cpu_seconds),
            peak_memory_mib=max(peaks, default=None),
            resumed=True,
        )

    def write(self, folder: Path) -> None:
        """Write FOLDER/cost.json."""
        write_json(folder / FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Cost | None:
        """Read FOLDER/cost.json; None without one."""
        file = Path(folder, FILE)
        return cls(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


class Meter:
    """Measure a block: `with Meter(device) as meter: ...` sets `seconds`, `cpu_seconds` and `mib`.

    Args:
        device: device of the computation.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds, self.cpu_seconds, self.mib = 0.0, 0.0, 0.0
        self._device, self._done = device, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Meter:
        import torch

        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._thread.start()
        self._start, self._cpu = time.monotonic(), time.process_time()
        return self

    def __exit__(self, *_: Any) -> None:
        import torch

        self.seconds, self.cpu_seconds = time.monotonic() - self._start, time.process_time() - self._cpu
        self._done.set()
        if self._device.type == "cuda":
            self.mib = torch.cuda.max_memory_allocated(self._device) / _MIB
        else:
            self._thread.join()

    def _watch(self) -> None:
        import psutil

        process = psutil.Process()
        while True:
            self.mib = max(self.mib, process.memory_info().rss / _MIB)
            if self._done.wait(_INTERVAL):
                return


__all__ = ["FILE", "Cost", "Meter"]
