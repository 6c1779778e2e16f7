"""Tables of `measure_ray.py`."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import median
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


def save_run(file: Path, side: tuple[int, int], run: dict[str, Any], load: tuple[float, float]) -> None:
    """Write the tables of the run with killed processes."""
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
        "memory": memory_table("Memory over the run with killed processes", run),
        "size": size_table(run),
    }
    _save(file, side, load, tables)


def memory_table(title: str, run: dict[str, Any]) -> Table:
    """Medians of the memory in each fifth of a run."""
    labels = {"driver": "Driver", "workers": "Largest worker", "all": "All processes"}
    parts = [Column(key=f"part-{n}", label=f"Fifth {n}", digits=0) for n in range(1, 6)]
    rows = {
        name: {"what": labels[name], **{f"part-{n}": value for n, value in enumerate(values, 1)},
               "peak": run["peak_mb"][name]}
        for name, values in run["memory_mb"].items()
    }  # fmt: skip
    columns = (Column(key="what", label="Process"), *parts, Column(key="peak", label="Peak", digits=0))
    return Table(title=f"{title}, MB, median of each fifth of the time", columns=columns, rows=rows)


def size_table(run: dict[str, Any]) -> Table:
    """Bytes of the result."""
    whats = {"images": "Table of images", "objects": "Table of objects", "commits": "Commits"}
    rows = {
        name: {"what": whats[name], "bytes": number / run["listed"], "files": run["files"][name]}
        for name, number in run["bytes"].items()
    }
    labels = {"what": "What", "bytes": "Bytes per image", "files": "Files"}
    columns = tuple(Column(key=key, label=label, digits=0) for key, label in labels.items())
    return Table(title="Size of the result", columns=columns, rows=rows)


def save_rates(file: Path, side: tuple[int, int], measured: dict[str, Any], load: tuple[float, float]) -> None:
    """Write the tables of the rates, and of the memory of the runs with two workers."""
    columns = (
        ("what", "Command", None), ("rate", "Images/s", 1), ("ratio", "Against label", 2),
        ("low", "Lowest", 2), ("high", "Highest", 2), ("cpu", "Processor time of an image, ms", 0),
        ("start", "Seconds until the first result", 1),
    )  # fmt: skip
    rounds, rows = measured["rounds"], {}
    for name, seen in rounds.items():
        ratios = [one["rate"] / plain["rate"] for one, plain in zip(seen, rounds["label"], strict=True)]
        rows[name] = {
            "what": LABELS[name], "rate": median(one["rate"] for one in seen), "ratio": median(ratios),
            "low": min(ratios), "high": max(ratios), "cpu": 1e3 * median(one["cpu"] for one in seen),
            "start": median(one["start"] for one in seen),
        }  # fmt: skip
    tables = {
        "rates": Table(
            title="Rate",
            columns=tuple(Column(key=k, label=label, digits=n) for k, label, n in columns),
            rows=rows,
            note=f"Medians of {len(rounds['label'])} rounds that alternate, and the ratios within a round. The first "
            f"{measured['skip']} of {measured['images']} images are left out of a rate, and with them the start. A "
            "worker of Ray computes with one thread, the other ways use both cores. Processor time is that of all "
            "processes, those of Ray included; it depends less on other programs than the rate.",
        ),
        "memory-undisturbed": memory_table("Memory without kills, Ray, 2 workers", measured),
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
            "proposals."
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
        "minutes": ("Minutes, restarts included", run["seconds"] / 60),
    }
    return {key: {"what": what, "value": value} for key, (what, value) in numbers.items()}
