"""Wait for a child process that may hang or crash, and say why it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CPU = 60.0
"""Most CPU time of one input, seconds, after which the child is killed."""
WALL = 900.0
"""Most wall time without progress, seconds, after which the child is killed.

A waiting process uses no CPU time, so that this limit is needed too. It is long since a process of low priority may get
a hundredth of a busy machine: with 60 s of wall time, inputs of one second of CPU time were taken for hangs.
"""


@dataclass(frozen=True)
class Ending:
    """How a child ended.

    Args:
        code: exit code, negative for a signal.
        hung: the child was killed here, since it made no progress.
        reason: a sentence for the report, with the CPU time since the last progress and the memory.
    """

    code: int
    hung: bool
    reason: str


def watch(
    child: subprocess.Popen[bytes], progress: Callable[[], bytes], cpu: float = CPU, wall: float = WALL, tick: float = 1
) -> Ending:
    """Wait until a child ends; kill it if `progress` does not change within a limit.

    Args:
        child: the process.
        progress: a value that changes with every input.
        cpu: most CPU time between two changes, seconds. Not known outside of Linux.
        wall: most wall time between two changes, seconds.
        tick: time between two looks, seconds.
    """
    kills, peak = _out_of_memory_kills(), 0
    seen, since, used = progress(), time.monotonic(), 0.0
    limit = ""
    while True:
        try:
            child.wait(tick)
            break
        except subprocess.TimeoutExpired:
            now, spent, peak = progress(), _cpu(child.pid), max(peak, _peak(child.pid))
            if now != seen:
                seen, since, used = now, time.monotonic(), spent
            elif not limit:
                waited = time.monotonic() - since
                limit = f"{cpu:g} s of CPU time" if spent - used > cpu else f"{wall:g} s" if waited > wall else ""
                if limit:
                    limit += f" for one input ({spent - used:.1f} s of CPU time, {waited:.0f} s of wall time)"
                    child.send_signal(signal.SIGKILL)
    code = child.returncode
    if limit and code < 0:
        return Ending(code, True, f"killed by the harness after {limit}")
    return Ending(code, False, f"{_named(code, _out_of_memory_kills() - kills)}, at most {peak / 1e6:.0f} MB")


def _named(code: int, kills: int) -> str:
    """A sentence about an exit code that the harness did not cause."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    if -code != signal.SIGKILL:
        return f"ended by {name}"
    return f"ended by {name}, " + ("out of memory (kernel)" if kills else "not by the harness or for lack of memory")


def _out_of_memory_kills() -> int:
    """Processes that the kernel ended for lack of memory since the start of the machine; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def _cpu(pid: int) -> float:
    """CPU time of a process, seconds; 0 where it is not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak(pid: int) -> int:
    """Largest resident size of a process so far, bytes; 0 where it is not known."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
