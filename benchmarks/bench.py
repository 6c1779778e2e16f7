"""Where the benchmarks write their figures: each has a table of its own in results/speed.json."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "tools"))

import results
from results import Column, Table

Row = tuple[str, float, str]
"""What was measured, the value, its unit."""


def record(
    name: str, title: str, rows: Mapping[str, Row], base: Any | None, file: Path | None, digits: int | None = None
) -> None:
    """Write the table of one benchmark.

    Args:
        name: of the table.
        title: what was measured.
        rows: by name.
        base: base model of the measurement; None: none is involved.
        file: results/speed.json, or another place.
        digits: decimals in pages; None prints values as they are.
    """
    columns = [Column(key="what", label="What"), Column(key="value", label="Measured", digits=digits)]
    cells = {key: {"what": what, "value": value, "unit": unit} for key, (what, value, unit) in rows.items()}
    table = Table(title=title, columns=(*columns, Column(key="unit", label="Unit")), rows=cells)
    units = "ratios of two measurements in one run, seconds or memory"
    results.save("speed", {name: table}, title="Speed and memory", units=units, base=base, file=file)


def threads(count: int | str) -> str:
    """Number of threads in words."""
    return {"1": "one thread", "2": "two threads"}.get(str(count), f"{count} threads")


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the option `--results`."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    results.add_option(made, "speed")
    return made


__all__ = ["Column", "Row", "Table", "parser", "record", "results", "threads"]
