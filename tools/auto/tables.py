"""The tables of results/auto.json, from the rows of tools/measure_auto.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import results
from measure_few_shot import SETS
from results import Cell, Column, Figure, Table
from samtailor.fitting.contest.report.forecast import Forecast

Row = Mapping[str, Any]
METHODS = {"auto": "auto", "tailor": "tailor", "AM-SAM": "am-sam", "BLO-SAM": "blo-sam"}
"""Title in a table to the name of the method in a comparison."""
MORE = 8
"""Additional masks of the forecasts that can be checked."""
_ALL = "all sets"
_SEEDS = 3


def tables(rows: Sequence[Row]) -> dict[str, Table]:
    """All tables that the rows have figures for."""
    made = {"regions": _regions(rows), "clicks": _prompted(rows, "clicks"), "cost": _cost(rows)}
    if any("boxes" in part for row in rows for part in row["parts"].values()):
        made |= {"boxes": _prompted(rows, "boxes"), "harm": _harm(rows)}
    if instances := _instances(rows):
        made["instances"] = instances
    if forecast := _forecast(rows):
        made["forecast"] = forecast
    return made


def _regions(rows: Sequence[Row]) -> Table:
    """Dice of regions: auto, the best candidate by hindsight, and other methods."""
    columns = [Column(key="set", label=""), Column(key="shots", label="Masks", digits=0)]
    columns += [Column(key=_key(title), label=title) for title in METHODS]
    columns += [Column(key="best", label="Best candidate"), Column(key="regret", label="Regret")]
    columns += [Column(key="chosen", label="Chosen (seeds)")]

    def cells(group: Sequence[Row]) -> dict[str, Cell]:
        out: dict[str, Cell] = {}
        for title, name in METHODS.items():
            values = [value for row in group if (value := _compared(row, name)) is not None]
            if values:
                out[_key(title)] = _figure(values)
        regions = [part["regions"] for row in group for part in row["parts"].values() if part["regions"]]
        if regions:
            out["best"] = _figure(_by_row(group, "regions", lambda one: one["dice"][one["best"]]))
            out["regret"] = _figure(_by_row(group, "regions", lambda one: one["regret"]))
            counts = {name: sum(one["chosen"] == name for one in regions) for name in {r["chosen"] for r in regions}}
            out["chosen"] = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        return out

    return Table(
        title="Regions without a prompt: Dice on the test images", columns=tuple(columns), rows=_grouped(rows, cells)
    )


def _prompted(rows: Sequence[Row], way: str) -> Table:
    """IoU of a prompt: base model, auto and PLM."""
    names = {"base": "Base model", "auto": "auto"}
    if any("plm" in part.get(way, {}) for row in rows for part in row["parts"].values()):
        names["plm"] = "PLM"
    columns = [Column(key="set", label=""), Column(key="shots", label="Masks", digits=0)]
    columns += [Column(key=name, label=label) for name, label in names.items()]

    def cells(group: Sequence[Row]) -> dict[str, Cell]:
        values = {name: _by_row(group, way, lambda one, name=name: one.get(name, math.nan)) for name in names}
        return {
            name: _figure(known) for name, row in values.items() if (known := [v for v in row if not math.isnan(v)])
        }

    title = {"clicks": "One click on each object: mIoU", "boxes": "A box around each object: mIoU"}[way]
    return Table(title=title, columns=tuple(columns), rows=_grouped(rows, cells))


def _harm(rows: Sequence[Row]) -> Table:
    """How often the adapter is better or worse than the base model by more than the interval of the difference."""
    labels = {"runs": "runs", "better": "better", "same": "base model answers", "worse": "worse"}
    columns = [Column(key="set", label=""), Column(key="shots", label="Masks", digits=0)]
    columns += [
        Column(key=f"{way}-{key}", label=f"{way.capitalize()}: {label}", digits=0)
        for way in ("clicks", "boxes") for key, label in labels.items()
    ]  # fmt: skip

    def cells(group: Sequence[Row]) -> dict[str, Cell]:
        out: dict[str, Cell] = {}
        for way in ("clicks", "boxes"):
            parts = [part[way] for row in group for part in row["parts"].values() if "interval" in part.get(way, {})]
            if parts:
                out |= {
                    f"{way}-runs": len(parts),
                    f"{way}-better": sum(one["interval"][0] > 0 for one in parts),
                    f"{way}-same": sum(one["auto"] == one["base"] for one in parts),
                    f"{way}-worse": sum(one["interval"][1] < 0 for one in parts),
                }
        return out

    title = "Better or worse than the base model by more than the 95 % interval of the paired difference"
    return Table(title=title, columns=tuple(columns), rows=_grouped(rows, cells))


def _instances(rows: Sequence[Row]) -> Table | None:
    """AP50 and count error of automatic mode."""
    columns = [Column(key="set", label=""), Column(key="shots", label="Masks", digits=0)]
    columns += [Column(key="ap50", label="Mask AP50"), Column(key="count_error", label="Count error, objects")]
    columns += [Column(key="count_bias", label="Bias, objects", signed=True)]

    def cells(group: Sequence[Row]) -> dict[str, Cell]:
        found = [part["instances"] for row in group for part in row["parts"].values() if part["instances"]]
        if not found:
            return {}
        counts = {name: float(np.mean([one[name] for one in found])) for name in ("count_error", "count_bias")}
        return {"ap50": _figure([one["ap50"] for one in found]), **counts}

    made = _grouped(rows, cells)
    return Table(title="Objects without a prompt", columns=tuple(columns), rows=made) if made else None


def _forecast(rows: Sequence[Row]) -> Table | None:
    """Forecast gain of `MORE` masks, and what came, for each pair of runs of a set and seed."""
    columns = (
        Column(key="set", label=""),
        *(Column(key=key, label=label, digits=0) for key, label in (
            ("shots", "Masks"), ("runs", "Runs"), ("given", "With a forecast"))),
        Column(key="forecast", label="Forecast gain", signed=True),
        Column(key="came", label="Measured gain", signed=True),
        Column(key="error", label="Mean absolute error"),
        Column(key="within", label="Within 2 points, % of the forecasts", digits=0),
        Column(key="without", label="Measured gain without a forecast", signed=True),
    )  # fmt: skip
    known = {(row["set"], row["seed"], row["shots"]): row for row in rows}

    def cells(group: Sequence[Row]) -> dict[str, Cell]:
        pairs = [
            (_gain(before["forecast"]), 100 * (part["regions"]["dice"]["auto"] - before["regions"]["dice"]["auto"]))
            for row in group
            if (later := known.get((row["set"], row["seed"], row["shots"] + MORE))) is not None
            for label, before in row["parts"].items()
            if (part := later["parts"].get(label)) and part["regions"] and before["regions"]
        ]
        if not pairs:
            return {}
        made: dict[str, Cell] = {"runs": len(pairs)}
        given = np.array([(100 * gain, came) for gain, came in pairs if gain is not None]).reshape(-1, 2)
        made["given"] = len(given)
        if len(given):
            said, came = given.T
            made |= {
                "forecast": float(said.mean()), "came": float(came.mean()), "error": float(np.abs(said - came).mean()),
                "within": float(100 * (np.abs(said - came) <= 2).mean()),
            }  # fmt: skip
        others = [came for gain, came in pairs if gain is None]
        return made | ({"without": float(np.mean(others))} if others else {})

    made = _grouped(rows, cells)
    title = f"What {MORE} more masks bring: Dice of regions, in points"
    return Table(title=title, columns=columns, rows=made) if made else None


def _cost(rows: Sequence[Row]) -> Table:
    """Time and memory of a contest."""
    columns = (
        Column(key="set", label=""),
        *(Column(key=key, label=label, digits=0) for key, label in (
            ("shots", "Masks"), ("cpu", "CPU seconds"), ("wall", "Wall seconds"), ("mib", "Peak memory, MiB"))),
    )  # fmt: skip

    def cells(group: Sequence[Row]) -> dict[str, Cell]:
        cpu = [sum(part["budget"]["cpu_seconds"] for part in row["parts"].values()) for row in group]
        memory = [row["mib"] for row in group if row["mib"] is not None]
        wall = float(np.mean([row["seconds"] for row in group]))
        return {"cpu": float(np.mean(cpu)), "wall": wall} | ({"mib": max(memory)} if memory else {})

    note = "Wall seconds contain the evaluation on the test images, and depend on other programs of the machine."
    title = "Cost of a contest, without the other methods"
    return Table(title=title, columns=columns, rows=_grouped(rows, cells), note=note)


def _grouped(rows: Sequence[Row], cells: Callable[[Sequence[Row]], dict[str, Cell]]) -> dict[str, dict[str, Cell]]:
    """One row per set and number of masks, and one over all sets per number of masks; empty ones are left out.

    Scores over all sets are means of those of the sets, which may have different numbers of seeds.
    """
    made: dict[str, dict[str, Cell]] = {}
    for shots in sorted({row["shots"] for row in rows}):
        of_shots = [row for row in rows if row["shots"] == shots]
        names = [name for name in SETS if any(row["set"] == name for row in of_shots)]
        by_set: list[dict[str, Cell]] = []
        for name in [*names, *([_ALL] if len(names) > 1 else [])]:
            group = [row for row in of_shots if name in (_ALL, row["set"])]
            if found := cells(group):
                found |= _mean_of_sets(by_set) if name == _ALL else {}
                by_set.append(found)
                title = SETS[name][0] if name in SETS else name.capitalize()
                made[f"{name.replace(' ', '-')}-{shots}"] = {"set": title, "shots": shots, **found}
    return made


def _mean_of_sets(by_set: Sequence[dict[str, Cell]]) -> dict[str, Cell]:
    """Means over the sets of the scores that every set has."""
    shared = set.intersection(*(set(cells) for cells in by_set))
    scores = {key: [cells[key] for cells in by_set] for key in sorted(shared)}
    return {
        key: Figure(value=float(np.mean([one.value for one in row])))
        for key, row in scores.items()
        if all(isinstance(one, Figure) and one.value is not None for one in row)
    }


def _by_row(rows: Sequence[Row], key: str, value: Callable[[Mapping[str, Any]], float]) -> list[float]:
    """A value of each row: the mean over its adapters, so that a set counts once, whatever its number of classes."""
    parts = [[part[key] for part in row["parts"].values() if part[key]] for row in rows]
    return [float(np.mean([value(one) for one in row])) for row in parts if row]


def _figure(values: Sequence[float]) -> Figure:
    """Mean in percent, with the seeds of a single set."""
    each = tuple(results.percent(float(value)) for value in values)
    return Figure(value=results.percent(float(np.mean(values))), seeds=each if 1 < len(values) <= _SEEDS else ())


def _compared(row: Row, method: str) -> float | None:
    return next((dice for title, dice in row["compare"].items() if title.lower() == method), None)


def _gain(forecast: Mapping[str, Any]) -> float | None:
    """The forecast for `MORE` masks, if the contest gives it."""
    made = [Forecast(one["masks"], one["gain"], one["error"]) for one in forecast.get("rows", ())]
    return next((one.gain for one in made if one.masks == MORE and one.trusted), None)


def _key(title: str) -> str:
    return title.lower()


__all__ = ["MORE", "tables"]
