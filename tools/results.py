"""Measured figures as JSON files in `results/`: the schema, reading, writing, and where a figure comes from.

A measuring tool calls `save`; `make_figures.py` renders the files into README.md and docs/. Each file holds one result
with one or more tables. The result records how it was measured (command, seeds, base model, code version, date). A
table that was measured in another run carries its own record.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from samtailor.bases import _retired
from samtailor.registry import BUNDLED_BASE

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "results"
BUNDLED = BUNDLED_BASE
"""Name of the bundled base."""
EARLIER = _retired.NAMES
"""Names of the bundled bases of earlier versions."""
Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._+-]*$")]


class Strict(BaseModel):
    """Unknown keys are errors, so that a misspelt key is not silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(Strict):
    """A measured value with its interval, or the values of the seeds one by one.

    Args:
        value: mean; None if only a range is known.
        low, high: ends of the 95 % interval; with `value` None, ends of a range of runs.
        seeds: one value per seed, in the order of the record's seeds.
        sd: standard deviation over the seeds.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: tuple[float, ...] = ()
    sd: float | None = None

    @model_validator(mode="after")
    def _complete(self) -> Figure:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends")
        if self.low is not None and not self.low <= (self.low if self.value is None else self.value) <= self.high:
            raise ValueError(f"{self.value} is not between {self.low} and {self.high}")
        if self.value is None and self.low is None and not self.seeds:
            raise ValueError("a figure has a value, a range or seeds")
        return self


Cell = Figure | bool | int | float | str | None


class Column(Strict):
    """A column.

    Args:
        key: key of the cells.
        label: heading.
        digits: decimals of numbers; None prints them as they are stored.
        signed: print a plus sign (differences).
    """

    key: Key
    label: str
    digits: int | None = 1
    signed: bool = False


class BaseModelUsed(Strict):
    """The frozen base model of a measurement; `fingerprint` is its hash of weights and preprocessing."""

    name: str
    fingerprint: str | None

    @model_validator(mode="after")
    def _known(self) -> BaseModelUsed:
        if self.name in (BUNDLED, *EARLIER) and not self.fingerprint:
            raise ValueError("the bundled base changes between versions: its fingerprint is required")
        return self


class Record(Strict):
    """How something was measured.

    Args:
        command: as run, with placeholders for folders; None: the script was not kept.
        seeds: all seeds that were run.
        base: base model; None: none is involved.
        code: commit or version of the code.
        date: ISO date of the measurement.
        published: where the figures were copied from, if they were not measured here.
    """

    command: str | None
    seeds: tuple[int, ...] = ()
    base: BaseModelUsed | None = None
    code: str
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    published: str | None = None


class Table(Strict):
    """A table: columns, and rows by name.

    Args:
        title: what the table shows.
        columns: in their order; the first ones are text.
        rows: cells by column key, by row key; missing cells are empty.
        best: columns among which the largest value of each row is printed in bold.
        best_row: columns in which the largest value is printed in bold.
        note: one sentence below the table.
        measured: how this table was measured, if not as the result.
    """

    title: str = ""
    columns: tuple[Column, ...]
    rows: dict[Key, dict[Key, Cell]]
    best: tuple[str, ...] = ()
    best_row: tuple[str, ...] = ()
    note: str = ""
    measured: Record | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Table:
        keys = [column.key for column in self.columns]
        if len(set(keys)) < len(keys):
            raise ValueError(f"two columns have the same key: {keys}")
        for name, row in self.rows.items():
            if unknown := set(row) - set(keys):
                raise ValueError(f"row {name}: no column {sorted(unknown)}")
        if unknown := {*self.best, *self.best_row} - set(keys):
            raise ValueError(f"no column {sorted(unknown)} to compare")
        return self


class Result(Record):
    """One file of `results/`.

    Args:
        name: name of the file without its suffix.
        title: what was measured.
        units: of the figures.
        notes: what a reader has to know: data, protocol, deviations.
        tables: by name; the first one is shown where a page names no view.
    """

    name: Key
    title: str
    units: str
    notes: tuple[str, ...] = ()
    tables: Annotated[dict[Key, Table], Field(min_length=1)]

    def record(self, table: str) -> Record:
        """How a table was measured."""
        own = self.tables[table].measured
        return own or Record(**{key: getattr(self, key) for key in Record.model_fields})


def read(name: str, folder: Path = FOLDER) -> Result:
    """The result of this name, validated."""
    file = folder / f"{name}.json"
    result = Result.model_validate_json(file.read_text(encoding="utf-8"))
    if result.name != name:
        raise ValueError(f"{file.name} holds the result {result.name!r}")
    return result


def read_all(folder: Path = FOLDER) -> dict[str, Result]:
    """All results by name, in alphabetical order."""
    return {file.stem: read(file.stem, folder) for file in sorted(folder.glob("*.json"))}


def write(result: Result, file: Path | None = None) -> Path:
    """Write a result as it is; one line per row, so that a changed figure is a changed line."""
    file = file or FOLDER / f"{result.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(_text(result), encoding="utf-8")
    os.replace(temporary, file)
    return file


def over_seeds(values: Sequence[float]) -> Figure:
    """The mean of the values of several seeds, with each of them; a single value alone."""
    each = tuple(map(float, values))
    return Figure(value=sum(each) / len(each), seeds=each if len(each) > 1 else ())


def save(
    name: str,
    tables: Mapping[str, Table],
    *,
    title: str,
    units: str,
    base: BaseModelUsed | Any | None,
    seeds: Sequence[int] = (),
    notes: Sequence[str] = (),
    command: str | None = None,
    file: Path | None = None,
) -> Path:
    """Write what a tool measured, with the command, code version and date of now.

    Tables that this run did not measure are kept, with the record of the run that measured them.

    Args:
        name, title, units, notes: see `Result`.
        tables: what was measured, by name.
        base: base model of the measurement: a loaded base, or its name and fingerprint; None: none is involved.
        seeds: all seeds that were run.
        command: as to be shown; None takes the command line of this process.
        file: where to write; None: `results/NAME.json`.
    """
    file = file or FOLDER / f"{name}.json"
    if base is not None and not isinstance(base, BaseModelUsed):
        base = BaseModelUsed(name=base.name, fingerprint=base.fingerprint)
    record = Record(command=command or command_line(), seeds=tuple(seeds), base=base, code=code(), date=_today())
    merged = dict(tables)
    if file.is_file():
        before = Result.model_validate_json(file.read_text(encoding="utf-8"))
        kept = {
            key: table.model_copy(update={"measured": before.record(key)})
            for key, table in before.tables.items()
            if key not in tables
        }
        order = [*before.tables, *(key for key in tables if key not in before.tables)]
        merged = {key: (kept | merged)[key] for key in order}
    own = {key: getattr(record, key) for key in Record.model_fields}
    result = Result(name=name, title=title, units=units, notes=tuple(notes), tables=merged, **own)
    print(f"Wrote {write(result, file)}. Run tools/make_figures.py to update the pages.", file=sys.stderr)
    return file


def add_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Add `--results FILE` to a tool, `results/NAME.json` by default."""
    parser.add_argument(
        "--results",
        type=Path,
        default=FOLDER / f"{name}.json",
        help=f"JSON file for the figures (default: results/{name}.json)",
    )


def percent(value: float | None) -> float | None:
    """A share in percent, rounded for the file."""
    return None if value is None else round(100 * value, 2)


def interval(value: float, ends: Sequence[float] | None, **more: Any) -> Figure:
    """A share with its interval, in percent."""
    low, high = (None, None) if ends is None else map(percent, ends)
    return Figure(value=percent(value), low=low, high=high, **more)


def command_line(environment: Sequence[str] = ("OMP_NUM_THREADS",)) -> str:
    """The command of this process as it would be typed in the repository; folders outside of it are placeholders."""
    script = Path(sys.argv[0]).resolve()
    script = script.relative_to(ROOT) if script.is_relative_to(ROOT) else Path(script.name)
    words = [f"{name}={os.environ[name]}" for name in environment if name in os.environ]
    return " ".join([*words, "python", str(script), *_shown(sys.argv[1:])])


def _shown(arguments: Sequence[str]) -> list[str]:
    """Arguments without `--results`, and and of paths outside of the repository the last part in capitals."""
    shown: list[str] = []
    skip = False
    for word in arguments:
        if skip or word.startswith("--results="):
            skip = False
        elif word == "--results":
            skip = True
        else:
            option, equals, path = word.partition("=") if word.startswith("-") else ("", "", word)
            outside = Path(path).is_absolute() or ".." in Path(path).parts
            shown.append(f"{option}{equals}{Path(path).name.upper() if outside else path}")
    return shown


def code() -> str:
    """Version and commit of the code, `+changes` where files differ from the commit."""
    from samtailor import __version__

    try:
        commit = _git("rev-parse", "--short=7", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "src", "tools", "benchmarks")
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__} ({commit}{'+changes' if changed else ''})"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


@cache
def bundled() -> BaseModelUsed:
    """The base model in the package, as it is now."""
    from samtailor.bases import load_base

    return BaseModelUsed(name=BUNDLED, fingerprint=load_base(BUNDLED).fingerprint)


def _today() -> str:
    return datetime.now(timezone.utc).date().isoformat()


def _text(result: Result) -> str:
    """JSON with two spaces, and each column, row and record on a line of its own."""
    plain = result.model_dump(exclude_defaults=True)
    tables = plain.pop("tables")
    plain = {key: plain.get(key) for key in ("name", "title", "command", "seeds", "base", "code", "date", "units")} | (
        {"notes": plain["notes"]} if plain.get("notes") else {}
    )
    plain["seeds"] = plain["seeds"] or ()
    lines = [f"  {_line(key)}: {_line(value)}," for key, value in plain.items() if key != "notes"]
    if "notes" in plain:
        lines += ['  "notes": [', ",\n".join(f"    {_line(note)}" for note in plain["notes"]), "  ],"]
    blocks = []
    for name, table in tables.items():
        inner = [f"      {_line(key)}: {_line(table[key])}" for key in table if key not in ("columns", "rows")]
        columns = ",\n".join(f"        {_line(column)}" for column in table["columns"])
        rows = ",\n".join(f"        {_line(key)}: {_line(row)}" for key, row in table["rows"].items())
        inner.insert(1 if "title" in table else 0, f'      "columns": [\n{columns}\n      ]')
        inner.append(f'      "rows": {{\n{rows}\n      }}')
        blocks.append(f"    {_line(name)}: {{\n" + ",\n".join(inner) + "\n    }")
    return "{\n" + "\n".join(lines) + '\n  "tables": {\n' + ",\n".join(blocks) + "\n  }\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


__all__ = [
    "FOLDER",
    "ROOT",
    "BaseModelUsed",
    "Cell",
    "Column",
    "Figure",
    "Record",
    "Result",
    "Table",
    "add_option",
    "bundled",
    "code",
    "command_line",
    "interval",
    "percent",
    "read",
    "read_all",
    "save",
    "write",
]
