"""Blocks of pages that are filled from results.

    <!-- results: NAME [view=VIEW] [command=no] [notes=yes] -->
    <!-- /results -->

holds a table or, with `view=plot`, a plot, and the command that measured it (`command=no` leaves the command out, for
the second block of a result on a page; `notes=yes` adds units and notes of the result). In the middle of a line

    <!-- results: NAME value=TABLE/ROW/COLUMN [part=value] --><!-- /results -->

holds one cell, or one number of it: `value`, `low` or `high`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from figures import markdown, plots, views
from results import BaseModelUsed, Figure, Record, Result

OPEN = re.compile(r"(?<!`)<!-- results: (?P<spec>[^>\n]*?) -->")
CLOSE = "<!-- /results -->"
FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.DOTALL | re.MULTILINE)
OPTIONS = {"view", "command", "notes", "value", "part"}


class BlockError(ValueError):
    """A block that cannot be filled; the message says which and why."""


@dataclass(frozen=True)
class Block:
    """A block of a page: its name and options, and where its body is in the text."""

    name: str
    options: Mapping[str, str]
    start: int
    end: int
    inline: bool


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a page, in their order; examples in code are none."""
    fences = [match.span() for match in FENCE.finditer(text)]
    place = 0
    while (match := OPEN.search(text, place)) is not None:
        place = match.end()
        if any(start <= match.start() < end for start, end in fences):
            continue
        end, following = text.find(CLOSE, place), OPEN.search(text, place)
        if end < 0 or (following is not None and following.start() < end):
            raise BlockError(f"the block {match['spec']!r} has no end ({CLOSE})")
        name, options = _parsed(match["spec"])
        yield Block(name, options, place, end, "value" in options)
        place = end + len(CLOSE)


def fill(text: str, page: Path, results: Mapping[str, Result], bundled: BaseModelUsed, assets: Path) -> str:
    """The text of a page with all blocks filled.

    Args:
        text: of the page.
        page: its file, to which links to plots are relative.
        results: all results by name.
        bundled: the base model in the package.
        assets: folder of the plots.

    Raises:
        BlockError: there is no such result, table, row or view.
    """
    filled, place = [], 0
    for block in blocks(text):
        filled += [text[place : block.start], _body(block, page, results, bundled, assets)]
        place = block.end
    return "".join([*filled, text[place:]])


def _parsed(spec: str) -> tuple[str, dict[str, str]]:
    name, *words = spec.split()
    options = dict(word.partition("=")[::2] for word in words)
    if unknown := set(options) - OPTIONS:
        raise BlockError(f"the block {spec!r} has unknown options: {', '.join(sorted(unknown))}")
    return name, options


def _body(block: Block, page: Path, results: Mapping[str, Result], bundled: BaseModelUsed, assets: Path) -> str:
    if block.name not in results:
        raise BlockError(f"there is no results/{block.name}.json")
    result, view = results[block.name], block.options.get("view")
    try:
        if block.inline:
            return _cell(result, block.options, bundled)
        if view == "plot":
            return _plot(result, block, page, bundled, assets)
        return _tables(result, block, view, bundled)
    except KeyError as error:
        raise BlockError(f"{block.name}: {error.args[0]}") from error


def _tables(result: Result, block: Block, view: str | None, bundled: BaseModelUsed) -> str:
    shown = views.parts(result, view, bundled)
    records = list(dict.fromkeys(record.model_copy() for part in shown for record in part.records))
    lines = [markdown.mark(records, bundled)]
    for part in shown:
        lines += [f"**{part.table.title}**" if len(shown) > 1 and part.table.title else "", markdown.table(part.table)]
        lines.append(part.table.note)
    lines += [_notes(result) if block.options.get("notes") == "yes" else ""]
    lines += _sources(block, records)
    return "\n\n" + "\n\n".join(line for line in lines if line) + "\n\n"


def _notes(result: Result) -> str:
    return " ".join([f"Units: {result.units}.", *result.notes])


def _plot(result: Result, block: Block, page: Path, bundled: BaseModelUsed, assets: Path) -> str:
    if result.name not in plots.PLOTS:
        raise KeyError("there is no plot of it")
    records = list(dict.fromkeys(result.record(name) for name in result.tables))
    link = Path(os.path.relpath(plots.file_of(result, assets), page.parent)).as_posix()
    lines = [markdown.mark(records, bundled), f"![{plots.alternative(result)}]({link})"]
    lines += _sources(block, records)
    return "\n\n" + "\n\n".join(line for line in lines if line) + "\n\n"


def _sources(block: Block, records: list[Record]) -> list[str]:
    return [] if block.options.get("command") == "no" else [markdown.source(record) for record in records]


def _cell(result: Result, options: Mapping[str, str], bundled: BaseModelUsed) -> str:
    table, row, column = _path(options["value"])
    found = result.tables[_known(table, result.tables, "table")]
    cells = found.rows[_known(row, found.rows, "row")]
    columns = {one.key: one for one in found.columns}
    value, about = cells.get(_known(column, columns, "column")), columns[column]
    part = options.get("part")
    if part and isinstance(value, Figure):
        value = getattr(value, part) if part in ("value", "low", "high") else _known(part, (), "part")
    if value is None:
        raise KeyError(f"{options['value']} is empty")
    old = markdown.outdated(result.record(table), bundled)
    return markdown.cell(value, about) + " (earlier bundled base)" * old


def _path(text: str) -> tuple[str, str, str]:
    parts = text.split("/")
    if len(parts) != 3:
        raise KeyError(f"value={text} is not TABLE/ROW/COLUMN")
    return parts[0], parts[1], parts[2]


def _known(name: str, names, what: str) -> str:
    if name not in names:
        raise KeyError(f"no {what} {name!r} among {', '.join(names)}")
    return name


__all__ = ["CLOSE", "Block", "BlockError", "blocks", "fill"]
