"""Results of `compare` and `recipe`: table in the terminal and in table.md, compare.json, HTML report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.errors import counted

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.compare import Comparison
    from samtailor.structures import Sample
    from samtailor.train.config import FitConfig


def show(title: str, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Print the table and return its rows."""
    from samtailor.cli.screen import say, table
    from samtailor.compare import learning, rows_of
    from samtailor.compare.extrapolation import words
    from samtailor.report.tables import comparison_cells, comparison_note

    rows = rows_of(comparisons)
    table(title, *comparison_cells(rows), comparison_note(rows, comparisons[0].regions))
    for name, one in learning(rows).items():
        say(f"{name}: {words(one)}")
    for row in rows:
        if row["undetected"]:
            say(f"{_named(row)}: no detection in {row['undetected']} images; the full frame was used as the box.")
        if started := list(row["kept_step"].values()).count(0):
            say(f"{_named(row)}: {started} of {len(row['kept_step'])} fits did not improve on their initial state.")
    return rows


def content_of(comparisons: Sequence[Comparison], rows: Sequence[Mapping[str, Any]], out: Path) -> dict[str, Any]:
    """Content of compare.json without base model, settings and versions.

    `rows` as `compare.rows_of` returns them; `learning_curve` by title; `regions`, `seeds`, `shots`; `methods`:
    summaries as `Comparison.summary` returns them, by number of shots if there are several; `trained_on` and
    `judged_on`: ids of the images; `entries`: method by title; `folders`: of the fits, relative to `out`, by number of
    shots and "TITLE/SEED/CLASS".
    """
    first = comparisons[0]
    from samtailor.compare import learning

    shots = [one.shots for one in comparisons]
    summaries = {str(one.shots): one.summary() for one in comparisons}
    return {
        "rows": list(rows),
        "learning_curve": learning(rows),
        "methods": summaries[str(shots[0])] if len(comparisons) == 1 else summaries,
        "seeds": list(first.seeds),
        "shots": shots,
        "regions": first.regions,
        "reference": rows[0]["title"],
        "entries": first.methods,
        "folders": {str(one.shots): _relative(one, out) for one in comparisons},
        "trained_on": {str(one.shots): trained_on(one) for one in comparisons},
        "judged_on": {str(seed): list(ids) for seed, ids in first.held_out.items()},
    }


def _relative(comparison: Comparison, out: Path) -> dict[str, str | None]:
    return {k: None if f is None else f.relative_to(out).as_posix() for k, f in comparison.folders.items()}


def trained_on(comparison: Comparison) -> dict[str, list[str]]:
    """Ids of the training images, by SEED/CLASS."""
    from samtailor.artefact import SPLIT
    from samtailor.data.split import Split

    ids: dict[str, list[str]] = {}
    for key, folder in comparison.folders.items():
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
    """Write the JSON file, with base model, settings and versions; and copies of it to `extra`."""
    from samtailor.data import writing
    from samtailor.report import versions

    about = {"base": {"name": base.name, "fingerprint": base.fingerprint}, "data": data, "versions": versions()}
    settings = {name: config.to_dict() for name, config in runs.items()}
    for path in (file, *extra):
        writing.write_json(path, {**content, "settings": settings, **about})


def write_table(file: Path, rows: Sequence[Mapping[str, Any]], regions: bool) -> None:
    """Write the table as Markdown."""
    from samtailor.compare import learning
    from samtailor.compare.extrapolation import words
    from samtailor.data.writing import replacing
    from samtailor.report.tables import comparison_cells, comparison_note

    head, cells = comparison_cells(rows)
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(line)} |" for line in cells)]
    curves = [f"* {name}: {words(one)}" for name, one in learning(rows).items()]
    text = "\n".join([*lines, "", comparison_note(rows, regions), *(["", *curves] if curves else [])])
    with replacing(file) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_page(
    file: Path,
    comparisons: Sequence[Comparison],
    runs: Mapping[str, FitConfig],
    content: Mapping[str, Any],
    data: str,
    base: Base,
    sections: Sequence[Any] = (),
    image_grid: Any = None,
) -> None:
    """Write the HTML report: `sections` first, `image_grid` after the tables, training curves of the first seed at the
    largest number of shots."""
    from samtailor import report
    from samtailor.compare import learning
    from samtailor.compare.extrapolation import words
    from samtailor.evaluation.scores import MIN_OBJECTS

    rows, last = content["rows"] if "measured" not in content else content["measured"], comparisons[-1]
    pooled, several = last.pooled(), len(comparisons) > 1
    text = " ".join(f"{name}: {words(one)}" for name, one in learning(rows).items())
    pairs = {
        "data": data,
        "base model": base.name,
        "fingerprint of the base model": base.fingerprint,
        "seeds": list(last.seeds),
    }
    parts = [
        *sections,
        report.comparison(rows, last.regions),
        report.learning_curve(rows, text),
        report.headline(pooled, f"{counted(len(last.seeds), 'seed')}, pooled." + f" {last.shots} shots." * several),
        report.seed_table(last.summary()) if len(last.seeds) > 1 and rows[0]["masks"] >= MIN_OBJECTS else None,
        report.class_table(pooled),
        image_grid,
        *(report.matrix(name, one) for name, one in content.get("cross_model", {}).items()),
        report.curves(histories(last)),
        report.settings(
            "Settings",
            pairs | {"versions": report.versions()},
            {name: config.to_dict() for name, config in runs.items()},
        ),
    ]
    lead = "All methods: same images, same seeds, same masks." + " One region per image and class." * last.regions
    report.write_page(file, f"Comparison on {Path(data).name}", lead, parts)


def image_grid(
    comparison: Comparison,
    base: Base,
    samples: Sequence[Sample],
    classes: Sequence[str],
    prompt: str | None,
    store: EmbeddingCache | None,
) -> Any:
    """Section with the same objects for all rows, at fixed ranks of the last row, of the first seed.

    Args:
        comparison: at one number of shots.
        base: base model.
        samples: images of the data set, the held-out ones among them.
        classes: classes of the evaluation.
        prompt: prompt source of the evaluation.
        store: cached embeddings.
    """
    from samtailor import report
    from samtailor.compare.predicted import Predictions, Target, panels_by_method, rows_of
    from samtailor.evaluation.masks import REFINED

    seed, names = comparison.seeds[0], [name for name in comparison.scores if not name.endswith(REFINED)]
    last = comparison.scores[names[-1]][0]
    rows = rows_of(comparison.folders, comparison.methods, seed)
    predictions = Predictions(base, rows, classes, regions=comparison.regions, prompt=prompt, store=store)
    scores = [(rank, last.rows[place]) for rank, place in report.cases(last)]
    shown = {score.id for _, score in scores}
    by_key = {
        (target.sample.id, target.annotation.label, target.annotation.area): target
        for target in predictions.targets([sample for sample in samples if sample.id in shown])
    }
    chosen = []
    for rank, score in scores:
        target = by_key[score.id, score.label, score.area]
        chosen.append(Target(target.sample, target.index, target.annotation, rank))
    head, panels = panels_by_method(predictions, chosen, names)
    shots = "" if comparison.shots is None else f" with {comparison.shots} shots"
    text = (
        f"The same {counted(len(chosen), 'object')} for all methods, seed {seed}{shots}, chosen by the rank of their "
        f"IoU with {names[-1]} among {counted(len(last.rows), 'held-out mask')}. Blue: predicted mask. Green outline: "
        "truth."
    )
    return report.grid("Images", text, head, panels)


def histories(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Training history of each fit of the first seed, by name and class."""
    from samtailor.report.predictions import history_of

    made = {}
    for key, folder in comparison.folders.items():
        name, seed, label = key.rsplit("/", 2)
        if folder is not None and seed == str(comparison.seeds[0]):
            made[name if label == "all" else f"{name}, {label}"] = history_of(folder)
    return made


def _named(row: Mapping[str, Any]) -> str:
    return row["title"] + (f", {row['shots']} shots" if row["shots"] else "")


__all__ = ["content_of", "histories", "image_grid", "show", "write_json", "write_page", "write_table"]
