"""Tables of `measure_ray.py`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import results
from results import Column, Table

LABELS = {
    "label": "`label`, one process",
    "ray-1": "`batch label`, Ray, 1 worker",
    "ray-2": "`batch label`, Ray, 2 workers",
    "processes-1": "`batch label`, 1 process",
    "processes-2": "`batch label`, 2 processes",
}
SCALE = (
    Column(key="images", label="Images"),
    Column(key="hours", label="Hours at the measured rate, 2 workers on this machine"),
    Column(key="fast", label="Worker hours at 50 images/s per worker"),
    Column(key="machines", label="Such workers to finish in a day"),
    Column(key="shards", label="Parquet files (256 images each)", digits=0),
    Column(key="result", label="Size of the result, GB", digits=3),
    Column(key="features", label="Embeddings, were they kept (SAM 1: 2 MiB each), TB", digits=2),
    Column(key="read", label="Images to be read, at 500 kB each, TB", digits=3),
)


def save_run(file: Path, side: tuple[int, int], run: dict[str, Any], load: tuple[float, float]) -> None:
    """Write the tables of the run with killed processes."""
    parts = [Column(key=f"part-{n}", label=f"Fifth {n}", digits=0) for n in range(1, 6)]
    labels = {"driver": "Driver", "workers": "Largest worker"}
    tables = {
        "run": Table(
            title="Run with killed processes",
            columns=(Column(key="what", label="What"), Column(key="value", label="Measured", digits=0)),
            rows=run_rows(run),
        ),
        "named": Table(
            title="Images that were not processed, with the reason in the result",
            columns=tuple(Column(key=key, label=key.capitalize()) for key in ("image", "status", "reason")),
            rows={
                name.replace("_", "-"): {"image": f"`{name}`", "status": status, "reason": reason.rpartition("/")[2]}
                for name, (status, reason) in sorted(run["named"].items())
            },
        ),
        "memory": Table(
            title="Memory over the run, MB, median of each fifth of the time",
            columns=(Column(key="what", label="Process"), *parts, Column(key="peak", label="Peak", digits=0)),
            rows={
                name: {"what": labels[name], **{f"part-{n}": value for n, value in enumerate(values, 1)},
                       "peak": run["peak_mb"][name]}
                for name, values in run["memory_mb"].items()
            },
        ),
    }  # fmt: skip
    _save(file, side, load, tables)


def save_rates(
    file: Path, side: tuple[int, int], measured: dict[str, float], run: dict[str, Any], load: tuple[float, float]
) -> None:
    """Write the tables of the rates and of the arithmetic."""
    columns = (("what", "Command", None), ("rate", "Images/s", 1), ("ratio", "Against label", 2))
    rows = {
        name: {"what": LABELS[name], "rate": rate, "ratio": rate / measured["label"]} for name, rate in measured.items()
    }
    tables = {
        "rates": Table(
            title="Rate", columns=tuple(Column(key=k, label=label, digits=n) for k, label, n in columns), rows=rows
        ),
        "scale": Table(title="Arithmetic", columns=SCALE, rows=scale(measured, run)),
    }
    _save(file, side, load, tables)


def _save(file: Path, side: tuple[int, int], load: tuple[float, float], tables: dict[str, Table]) -> None:
    results.save(
        "ray",
        tables,
        title="Large runs on Ray",
        units="as in the tables",
        base=results.bundled(),
        notes=[
            f"{os.cpu_count()} cores shared with other work: load average {load[0]:.0f} before the run and "
            f"{load[1]:.0f} after it. Generated images of {side[0]} x {side[1]} pixels, one object each, without "
            "proposals. The start of the processes is not part of the rates."
        ],
        file=file,
    )


def run_rows(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The numbers of the run."""
    kills = run["kills"]
    numbers = {
        "listed": ("Images", run["listed"]),
        "workers": ("Workers killed", kills.get("worker", 0)),
        "drivers": ("Drivers killed", kills.get("driver", 0)),
        "lost": ("Images lost", run["lost"]),
        "doubled": ("Images twice in the result", run["doubled"]),
        "objects": ("Objects twice in the result", run["doubled_objects"]),
        "named": ("Images named as not processed", len(run["named"])),
        "problems": ("Problems reported by samtailor verify", len(run["problems"])),
        "seconds": ("Seconds, restarts included", run["seconds"]),
    }
    return {key: {"what": what, "value": value} for key, (what, value) in numbers.items()}


def scale(measured: dict[str, float], run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Hours, files and storage for more images, from the measured rate and size."""
    rows = {}
    size = run["bytes"] / run["listed"]
    for exponent in (4, 6, 9):
        number = 10**exponent
        rows[f"1e{exponent}"] = {
            "images": f"10^{exponent}",
            "hours": number / measured["ray-2"] / 3600,
            "fast": number / 50 / 3600,
            "machines": number / 50 / 3600 / 24,
            "shards": -(-number // 256) * 2,
            "result": number * size / 1e9,
            "features": number * 2 * 2**20 / 1e12,
            "read": number * 0.5e6 / 1e12,
        }
    return rows
