"""What a fit costs: how many numbers learn, seconds, memory; cost.json beside its result.

Memory is the highest resident memory of the whole process during the fit (on the CPU sampled fifty times a second:
Python, torch and the base are in it, and what an earlier fit in the same process has not given back), and on a GPU the
most that torch had allocated there.
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
_EVERY = 0.02  # seconds between two looks at the memory
_MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """Of one fit.

    Args:
        parameters: numbers that learn.
        seconds: wall time of the fit with its validations, without encoding images; None where it is not known.
        cpu_seconds: processor time of the same, all threads together: what is left of the seconds when others compute
            on the same machine.
        encode_seconds: what the images of the fit take to encode once, all methods together; 0 where the encoder
            runs inside the fit.
        peak_memory_mib: highest memory, see above; None where it is not known.
        encoder_cached: whether the fit runs on cached embeddings.
        threads: of torch.
        resumed: whether the fit was stopped in between; the seconds are those of all its parts.
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
        """With the part of the same fit before it was stopped."""
        if earlier is None:
            return self
        added = {name: _sum(getattr(self, name), getattr(earlier, name)) for name in ("seconds", "cpu_seconds")}
        peaks = [one.peak_memory_mib for one in (self, earlier) if one.peak_memory_mib is not None]
        return replace(self, **added, peak_memory_mib=max(peaks, default=None), resumed=True)

    def write(self, folder: Path) -> None:
        """Write FOLDER/cost.json."""
        write_json(folder / FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Cost | None:
        """What `write` wrote; None where nobody has measured."""
        file = Path(folder, FILE)
        return cls(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def _sum(*values: float | None) -> float | None:
    return None if None in values else sum(values)


class Meter:
    """Measures a block: `with Meter(device) as meter: ...`, then `seconds`, `cpu_seconds` and `mib`.

    Args:
        device: where the work is done.
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
            if self._done.wait(_EVERY):
                return


__all__ = ["FILE", "Cost", "Meter"]
