"""Peak memory of a command with all its processes."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_INTERVAL = 0.5  # seconds
_KIB = 1024


@dataclass(frozen=True)
class Spent:
    """What a command took: wall seconds, and the peak of the memory of its processes together, MiB (Linux only)."""

    seconds: float
    mib: float | None


def run(command: Sequence[str], out: Path) -> Spent:
    """Run a command; its output goes to a file.

    Raises:
        SystemExit: it fails.
    """
    start = time.monotonic()
    with out.open("a", encoding="utf-8") as log:
        process = subprocess.Popen(list(command), stdout=log, stderr=subprocess.STDOUT)
        peaks: list[float] = []
        watcher = threading.Thread(target=_watch, args=(process, peaks), daemon=True)
        watcher.start()
        code = process.wait()
        watcher.join()
    if code:
        raise SystemExit(f"{' '.join(command[:6])} ... ended with code {code}, see {out}.")
    return Spent(time.monotonic() - start, max(peaks, default=None))


def _watch(process: subprocess.Popen[bytes], peaks: list[float]) -> None:
    while process.poll() is None:
        if (total := _total(process.pid)) is not None:
            peaks.append(total)
        time.sleep(_INTERVAL)


def _total(root: int) -> float | None:
    """Proportional set size of a process and its descendants, MiB; None where /proc does not have it."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        parents[int(stat.parent.name)] = int(fields[1])
    family, size = {root}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, parent in parents.items() if parent in family}
    sizes = [one for pid in family if (one := _proportional(pid)) is not None]
    return sum(sizes) / _KIB if sizes else None


def _proportional(pid: int) -> int | None:
    """KiB; pages that several processes share count in parts."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), None)


__all__ = ["Spent", "run"]
