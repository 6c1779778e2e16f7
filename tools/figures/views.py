"""What a block of a page shows of a result: one of its tables, all of them, or a summary computed from them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from figures.markdown import cell, mark, outdated
from results import BaseModelUsed, Cell, Column, Figure, Record, Result, Table

DEFAULTS = {
    "real-data": "summary",
    "real-data-nano": "summary",
    "few-shot-8": "summary",
    "few-shot-every": "summary",
    "speed": "summary",
}
"""View of a block that names none, where it is not the first table."""

MEAN = "Mean: unweighted, over the data sets, of the stored values."


@dataclass(frozen=True)
class Part:
    """A table of a view, and the records of the runs that measured it."""

    table: Table
    records: tuple[Record, ...]


def parts(result: Result, view: str | None, bundled: BaseModelUsed) -> list[Part]:
    """The tables of a view.

    Args:
        result: the result.
        view: name of a table or of a computed view, or `all`; None takes the default.
        bundled: the base model in the package.

    Raises:
        KeyError: the result has no such view; the message names those it has.
    """
    view = view or DEFAULTS.get(result.name) or next(iter(result.tables))
    if view == "all":
        return [Part(table, (result.record(name),)) for name, table in result.tables.items()]
    if view in result.tables:
        return [Part(result.tables[view], (result.record(view),))]
    if (make := COMPUTED.get(result.name, {}).get(view)) is not None:
        return make(result, bundled)
    known = [*result.tables, "all", *COMPUTED.get(result.name, {})]
    raise KeyError(f"{result.name} has no view {view!r}; it has {', '.join(known)}")


def _records(result: Result) -> tuple[Record, ...]:
    return tuple(result.record(name) for name in result.tables)


def real_data(result: Result, _: BaseModelUsed) -> list[Part]:
    """One row per data set: mIoU of each method, and the difference between the last one and SAM."""
    sets = {name: table for name, table in result.tables.items() if "change" in {c.key for c in table.columns}}
    methods = {key: row["method"] for table in sets.values() for key, row in table.rows.items()}
    columns = [Column(key="set", label="")]
    columns += [Column(key=key, label=str(label)) for key, label in methods.items()]
    last = list(methods)[-1]
    columns.append(Column(key="change", label=f"{methods[last]} minus SAM", signed=True))
    rows: dict[str, dict[str, Cell]] = {}
    for name, table in sets.items():
        row = rows[name] = {"set": table.title}
        row |= {key: _mean(found["miou"]) for key, found in table.rows.items()}
        row["change"] = table.rows[last]["change"] if last in table.rows else None
    shown = Table(columns=tuple(columns), rows=rows, best=tuple(methods))
    return [Part(shown, tuple(result.record(name) for name in sets))]


def few_shot(result: Result, _: BaseModelUsed) -> list[Part]:
    """Per number of masks one table: Dice of each method on each data set, and the mean over the sets."""
    counts = sorted({int(row["shots"]) for table in result.tables.values() for row in table.rows.values()})
    found = []
    for count in counts:
        columns = [Column(key="method", label=f"{count} masks")]
        columns += [Column(key=name, label=table.title) for name, table in result.tables.items()]
        rows: dict[str, dict[str, Cell]] = {}
        for name, table in result.tables.items():
            for key, row in table.rows.items():
                if row["shots"] == count:
                    own = rows.setdefault(key.partition("-")[2], {"method": row["method"]})
                    own[name] = _mean(row["dice"])
        for row in rows.values():
            values = [row.get(name) for name in result.tables]
            if None not in values:
                row["mean"] = statistics.mean(values)
        columns.append(Column(key="mean", label="Mean"))
        best = tuple(column.key for column in columns[1:])
        note = MEAN if len(found) + 1 == len(counts) else ""
        found.append(Part(Table(columns=tuple(columns), rows=rows, best_row=best, note=note), _records(result)))
    return found


def speed(result: Result, bundled: BaseModelUsed) -> list[Part]:
    """All benchmarks in one table, each with its command; a dagger marks those of an earlier bundled base."""
    columns = (
        Column(key="what", label="What"),
        Column(key="measured", label="Measured"),
        Column(key="command", label="Command"),
    )
    rows: dict[str, dict[str, Cell]] = {}
    for name, table in result.tables.items():
        record = result.record(name)
        value = next(column for column in table.columns if column.key == "value")
        for key, row in table.rows.items():
            shown = f"{cell(row['value'], value)} {row.get('unit') or ''}".strip()
            rows[f"{name}.{key}"] = {
                "what": row["what"],
                "measured": f"{shown} †" if outdated(record, bundled) else shown,
                "command": f"`{record.command}`",
            }
    earlier = [record for record in _records(result) if outdated(record, bundled)]
    note = f"† {mark(earlier, bundled).removeprefix('> ')}" if earlier else ""
    return [Part(Table(columns=columns, rows=rows, note=note), ())]


def base_sources(result: Result, _: BaseModelUsed) -> list[Part]:
    """For a click and for a box: what leaving each source out changes, and how far the seeds of all sources differ."""
    found = []
    for name in ("oracle", "box"):
        table = result.tables[name]
        sets = [column for column in table.columns if column.key not in ("sources", "share")]
        everything = table.rows["all"]
        spreads = {c.key: spread_of(everything[c.key]) for c in sets}
        rows: dict[str, dict[str, Cell]] = {"all": {"sources": "All sources: largest minus smallest of the seeds"}}
        rows["all"] |= {key: None if value is None else f"{value:.1f}" for key, value in spreads.items()}
        for key, row in table.rows.items():
            if key != "all":
                own = {c.key: difference(row[c.key], everything[c.key]) for c in sets}
                rows[key] = {"sources": row["sources"], "share": row["share"]} | own
        signed = [column.model_copy(update={"signed": True}) for column in sets]
        columns = (*(c for c in table.columns if c not in sets), *signed)
        title = f"{table.title}: difference to all sources"
        found.append(Part(Table(title=title, columns=columns, rows=rows), (result.record(name),)))
    return found


def difference(one: Cell, other: Cell) -> Figure:
    """Mean over the seeds that both have of the first minus the second."""
    if not isinstance(one, Figure) or not isinstance(other, Figure):
        raise TypeError("differences need the values of the seeds")
    values = tuple(round(a - b, 2) for a, b in zip(one.seeds, other.seeds, strict=False))
    return Figure(value=statistics.mean(values), seeds=values if len(values) > 1 else ())


def spread_of(value: Cell) -> float | None:
    """Largest minus smallest of the seeds; None of a single one."""
    seeds = value.seeds if isinstance(value, Figure) else ()
    return round(max(seeds) - min(seeds), 2) if len(seeds) > 1 else None


def _mean(value: Cell) -> Cell:
    return value.value if isinstance(value, Figure) else value


COMPUTED: dict[str, dict[str, Callable[[Result, BaseModelUsed], list[Part]]]] = {
    "real-data": {"summary": real_data},
    "real-data-nano": {"summary": real_data},
    "few-shot-8": {"summary": few_shot},
    "few-shot-every": {"summary": few_shot},
    "speed": {"summary": speed},
    "base-sources": {"difference": base_sources},
}

__all__ = ["COMPUTED", "DEFAULTS", "Part", "difference", "parts", "spread_of"]
