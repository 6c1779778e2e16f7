"""What `compare` and `recipe` leave: the table on the terminal and in table.md, compare.json, the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.compare import Comparison
    from samtailor.train.config import FitConfig


def show(title: str, found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Print the table; the rows that are in it."""
    from samtailor.cli.screen import say, table
    from samtailor.compare import learning, rows_of
    from samtailor.compare.extrapolation import words
    from samtailor.report.tables import comparison_cells, comparison_note

    rows = rows_of(found)
    table(title, *comparison_cells(rows), comparison_note(rows, found[0].regions))
    for name, one in learning(rows).items():
        say(f"{name}: {words(one)}")
    for row in rows:
        if row["undetected"]:
            say(f"{_named(row)}: nothing detected in {row['undetected']} images; asked with the full frame there.")
        if started := list(row["kept_step"].values()).count(0):
            say(f"{_named(row)}: {started} of {len(row['kept_step'])} fits kept their start: no step was better there.")
    return rows


def content_of(found: Sequence[Comparison], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What compare.json holds, without base, settings and versions.

    `rows` as `compare.rows_of` has them, `learning_curve` by title, `regions`, `seeds`, `shots`; `methods`: summaries
    of all masks as `Comparison.summary` has them, under each number of shots where there are several; `trained_on` and
    `judged_on`: ids of the images.
    """
    from samtailor.compare import learning

    shots = [one.shots for one in found]
    summaries = {str(one.shots): one.summary() for one in found}
    return {
        "rows": list(rows),
        "next_masks": learning(rows),
        "methods": summaries[str(shots[0])] if len(found) == 1 else summaries,
        "seeds": list(found[0].seeds),
        "shots": shots,
        "regions": found[0].regions,
        "reference": rows[0]["title"],
        "trained_on": {str(one.shots): trained_on(one) for one in found},
        "judged_on": {str(seed): list(ids) for seed, ids in found[0].held_out.items()},
    }


def trained_on(found: Comparison) -> dict[str, list[str]]:
    """Ids that were fitted on, by SEED/CLASS."""
    from samtailor.artefact import SPLIT
    from samtailor.data.split import Split

    ids: dict[str, list[str]] = {}
    for key, folder in found.folders.items():
        place = "/".join(key.rsplit("/", 2)[1:])
        if folder is not None and place not in ids:
            ids[place] = list(Split.read(folder / SPLIT).train)
    return ids


def write_json(
    file: Path,
    content: Mapping[str, Any],
    runs: Mapping[str, FitConfig],
    data: str,
    base: Base,
    extra: Sequence[Path] = (),
) -> None:
    """The JSON with base, settings and versions, also to `extra`."""
    from samtailor.data import writing
    from samtailor.report import versions

    about = {"base": {"name": base.name, "fingerprint": base.fingerprint}, "data": data, "versions": versions()}
    settings = {name: config.to_dict() for name, config in runs.items()}
    for path in (file, *extra):
        writing.write_json(path, {**content, "settings": settings, **about})


def write_table(file: Path, rows: Sequence[Mapping[str, Any]], regions: bool) -> None:
    """The table as Markdown, for a document."""
    from samtailor.compare import learning
    from samtailor.compare.extrapolation import words
    from samtailor.data.writing import replacing
    from samtailor.report.tables import comparison_cells, comparison_note

    head, cells = comparison_cells(rows)
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(line)} |" for line in cells)]
    said = [f"* {name}: {words(one)}" for name, one in learning(rows).items()]
    text = "\n".join([*lines, "", comparison_note(rows, regions), *(["", *said] if said else [])])
    with replacing(file) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_page(
    file: Path,
    found: Sequence[Comparison],
    runs: Mapping[str, FitConfig],
    content: Mapping[str, Any],
    data: str,
    base: Base,
    sections: Sequence[Any] = (),
) -> None:
    """The page; `sections` stand first, and curves are those of the first seed at the largest number of shots."""
    from samtailor import report
    from samtailor.compare import learning
    from samtailor.compare.extrapolation import words

    rows, last = content["rows"] if "measured" not in content else content["measured"], found[-1]
    pooled, several = last.pooled(), len(found) > 1
    said = " ".join(f"{name}: {words(one)}" for name, one in learning(rows).items())
    pairs = {"data": data, "base": base.name, "base's fingerprint": base.fingerprint, "seeds": list(last.seeds)}
    listed = [
        *sections,
        report.comparison(rows, last.regions),
        report.learning_curve(rows, said),
        report.headline(pooled, f"{len(last.seeds)} seeds, pooled." + f" {last.shots} shots." * several),
        report.seed_table(last.summary()) if len(last.seeds) > 1 else None,
        report.class_table(pooled),
        *(report.matrix(name, one) for name, one in content.get("cross_model", {}).items()),
        report.curves(histories(last)),
        report.settings(
            "Settings",
            pairs | {"versions": report.versions()},
            {name: config.to_dict() for name, config in runs.items()},
        ),
    ]
    lead = "Same images, same seeds, same masks." + " One region an image and class." * last.regions
    report.write_page(file, f"Comparison on {Path(data).name}", lead, listed)


def histories(found: Comparison) -> dict[str, dict[str, Any]]:
    """History of each fit of the first seed, by name and, with several, class."""
    from samtailor.report.page import history_of

    made = {}
    for key, folder in found.folders.items():
        name, seed, label = key.rsplit("/", 2)
        if folder is not None and seed == str(found.seeds[0]):
            made[name if label == "all" else f"{name}, {label}"] = history_of(folder)
    return made


def _named(row: Mapping[str, Any]) -> str:
    return row["title"] + (f", {row['shots']} shots" if row["shots"] else "")


__all__ = ["content_of", "histories", "show", "write_json", "write_page", "write_table"]
