"""Processes of a run on Ray: which of them hold a model, their memory and their processor time."""

from __future__ import annotations

import statistics
from contextlib import suppress

import numpy as np
import psutil


def family(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def workers_of(pid: int) -> list[psutil.Process]:
    """Processes that hold a model."""
    return [one for one in family(pid) if "_Predictor" in name_of(one)]


def name_of(process: psutil.Process) -> str:
    """The command line of a process that may have ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def sizes(pid: int) -> dict[str, float]:
    """Memory of the driver and of the largest worker without pages that they share, and of all processes, MB."""
    out = {"driver": 0.0, "workers": 0.0, "all": 0.0}
    for process in family(pid):
        try:
            info = process.memory_full_info()
        except psutil.Error:
            continue
        unique = info.uss / 2**20
        out["all"] += info.pss / 2**20
        if process.pid == pid:
            out["driver"] = unique
        elif "_Predictor" in name_of(process):
            out["workers"] = max(out["workers"], unique)
    return out


def memory_of(samples: list[dict[str, float]]) -> dict[str, object]:
    """Median of memory in each fifth of the samples, and the peak."""
    fifths = [part.tolist() for part in np.array_split(np.arange(len(samples)), 5)]
    middle = {
        name: [round(statistics.median([samples[i][name] for i in part])) for part in fifths if part]
        for name in samples[0]
    }
    return {"memory_mb": middle, "peak_mb": {name: round(max(one[name] for one in samples)) for name in middle}}


def processor_time(pid: int) -> float:
    """Processor seconds of a process and everything below it that runs."""
    total = 0.0
    for process in family(pid):
        with suppress(psutil.Error):
            total += sum(process.cpu_times()[:2])
    return total
