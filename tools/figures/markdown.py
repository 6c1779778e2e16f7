"""A table of a result as Markdown, and the lines around it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from results import EARLIER, BaseModelUsed, Cell, Column, Figure, Record, Table


def table(shown: Table) -> str:
    """The table in Markdown, with its title above and its note below where it has them."""
    lines = ["| " + " | ".join(column.label for column in shown.columns) + " |", "|---" * len(shown.columns) + "|"]
    largest = {key: _largest(row.get(key) for row in shown.rows.values()) for key in shown.best_row}
    for row in shown.rows.values():
        best = _largest(row.get(key) for key in shown.best)
        cells = []
        for column in shown.columns:
            value, text = row.get(column.key), cell(row.get(column.key), column)
            limit = best if column.key in shown.best else largest.get(column.key)
            bold = limit is not None and _value(value) == limit
            cells.append(f"**{text}**" if bold else text)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(value: Cell, column: Column) -> str:
    """One cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value.replace("|", "\\|")
    if isinstance(value, Figure):
        return _figure(value, column)
    return _number(value, column)


def source(record: Record) -> str:
    """One line: how this was measured."""
    if record.published:
        return f"Published figures, not measured here: {record.published}."
    how = "The script of this trial was not kept" if record.command is None else f"Measured with `{record.command}`"
    details = []
    if record.seeds:
        details.append(f"seed{'s' * (len(record.seeds) > 1)} {', '.join(map(str, record.seeds))}")
    if record.base is not None:
        known = f" (fingerprint `{record.base.fingerprint}`)" if record.base.fingerprint else ""
        details.append(f"base model `{record.base.name}`{known}")
    details += [f"code `{record.code}`", record.date]
    return f"{how}; {', '.join(details)}."


def outdated(record: Record, bundled: BaseModelUsed) -> bool:
    """Whether this was measured on other weights of the bundled base than those in the package."""
    return record.base is not None and record.base.name in (bundled.name, *EARLIER) and record.base != bundled


def mark(records: Sequence[Record], bundled: BaseModelUsed) -> str:
    """The line above tables of an earlier bundled base; empty where all are of today's."""
    earlier = dict.fromkeys(f"`{r.base.fingerprint}`" for r in records if r.base and outdated(r, bundled))
    if not earlier:
        return ""
    all_of_them = all(outdated(record, bundled) for record in records)
    return (
        f"> **{'Measured' if all_of_them else 'Partly measured'} on an earlier bundled base** "
        f"(fingerprint {', '.join(earlier)}; the bundled base is now `{bundled.fingerprint}`)."
    )


def _figure(value: Figure, column: Column) -> str:
    parts = [] if value.value is None else [_number(value.value, column)]
    if value.low is not None and value.high is not None:
        ends = _number(value.low, column), _number(value.high, column)
        parts.append(f"[{', '.join(ends)}]" if parts else " to ".join(ends))
    if value.seeds:
        each = ", ".join(_number(one, column) for one in value.seeds)
        parts.append(f"({each})" if parts else each)
    if value.sd is not None:
        parts.append(f"(sd {_number(value.sd, column)})")
    return " ".join(parts)


def _number(value: float, column: Column) -> str:
    sign = "+" if column.signed else ""
    if column.digits is None:
        return f"{value:{sign},}"
    shown = f"{value:{sign},.{column.digits}f}"
    return shown.replace("-", "", 1) if not float(shown.replace(",", "")) and not column.signed else shown


def _largest(cells: Iterable[Cell]) -> float | None:
    values = [value for value in map(_value, cells) if value is not None]
    return max(values) if len(values) > 1 else None


def _value(value: Cell) -> float | None:
    if isinstance(value, Figure):
        return value.value
    return None if value is None or isinstance(value, (str, bool)) else value


__all__ = ["cell", "mark", "outdated", "source", "table"]
