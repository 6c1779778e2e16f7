"""`samtailor recipe`: a table of a paper, published figures beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.cli.compare import watching
from samtailor.cli.rows import (
    Detector,
    DetectorClasses,
    Seeds,
    Setting,
    detected,
    merged,
    seeds_of,
    settings_by_method,
    shots_of,
)
from samtailor.errors import InputError

if TYPE_CHECKING:
    from samtailor.compare import Comparison
    from samtailor.compare.recipes import Recipe
    from samtailor.structures import Sample
    from samtailor.train.config import FitConfig


def recipe_command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="celebamask-hq, banner or am-sam-table1; none: list them.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The data set; banner: drawn into OUT/data without it.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of fits and scores; default: recipes/NAME.")
    ] = None,
    base: options.Base = "nano",
    classes: Annotated[str | None, typer.Option(metavar="NAME,...", help="Only these columns.")] = None,
    methods: Annotated[str | None, typer.Option(metavar="NAME,...", help="Only these methods.")] = None,
    shots: Annotated[str | None, typer.Option(metavar="K,...", help="Only these numbers of shots.")] = None,
    seeds: Seeds = "1",
    steps: Annotated[int | None, typer.Option(min=1, metavar="N", help="Updates, instead of the paper's.")] = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Settings of the fits instead of the paper's; defaults: each method's own."),
    ] = None,
    setting: Setting = None,
    detector: Detector = None,
    detector_classes: DetectorClasses = None,
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="Drawn images to train on.")] = None,
    test: Annotated[int | None, typer.Option(min=1, metavar="N", help="Drawn test images.")] = None,
    workers: options.Workers = 1,
    json: options.Json = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="The report; default: OUT/report.html.")
    ] = None,
    device: options.Device = None,
) -> None:
    """Make a table of a paper on any base, with the published figures beside ours.

    --config defaults takes each method's own settings, which converge in minutes on small data, instead of the
    paper's 20,000 steps at 1e-5.
    """
    from samtailor.bases import load_on
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.cli.screen import say, table
    from samtailor.compare.recipes import head, narrowed, read, recipe_names, text

    if name is None:
        table("Recipes", ["", "", "source"], [[n, read(n).title, read(n).source] for n in recipe_names()])
        return
    recipe = narrowed(read(name), options.names(classes), options.names(methods), shots_of(shots))
    out = out or Path("recipes", name)
    given = {"base": base, "steps": steps, "device": device, "trackers": ()}
    runs = _runs(recipe, config, given, setting or [], detector, detector_classes)
    samples, held_out = _images(recipe, data, out, count, test)
    loaded = load_on(base, device)
    asked = {"seeds": seeds_of(seeds), "classes": recipe.columns, "per_class": recipe.per_class}
    with watching() as watch:
        asked |= {"store": EmbeddingCache(), "workers": options.workers(workers), "watch": watch}
        found = _compared(recipe, runs, out, loaded, samples, held_out, asked)
    rows = _beside(recipe, found)
    cells = [
        [f"{row['title']}{end}", *map(text, row[side])]
        for row in rows
        for side, end in (("ours", ""), ("published", ", published"))
        if side == "ours" or any(cell is not None for cell in row["published"])
    ]
    figure = {"miou": "mIoU, %", "dice": "Dice, %"}[recipe.figure]
    table(f"{recipe.title} ({recipe.source})", [figure, *head(recipe)], cells, "\n".join(recipe.notes))
    where = json or Path(out, f"{name}.json")
    heading = [figure, *head(recipe)]
    _write(recipe, name, found, rows, (heading, cells), runs, out, where, html, str(data or out / "data"), loaded)
    say(f"The table is in {where}.")


def _runs(
    recipe: Recipe,
    config: str | None,
    given: dict[str, Any],
    setting: list[str],
    detector: str | None,
    detector_classes: str | None,
) -> dict[str, FitConfig]:
    """Settings of the rows by title: the paper's or others, then the command line's, then those of single methods."""
    from samtailor.cli.fit import settings_of
    from samtailor.compare.recipes import config_of, fit_settings

    names = list(dict.fromkeys(run.method for run in recipe.runs.values()))
    general, own = settings_by_method(setting, names)
    own = merged(detected(detector, detector_classes, names), own)
    asked = settings_of(None, given, general)
    fields = {key: getattr(asked, key) for key in asked.model_fields_set}
    if config not in (None, "defaults"):
        fields = fit_settings(config) | fields
    runs = {}
    for title, run in recipe.runs.items():
        chosen = run.model_copy(update={"fit": None}) if config else run
        runs[title] = config_of(chosen, **merged({"": fields}, {"": own[run.method]})[""])
    return runs


def _compared(
    recipe: Recipe,
    runs: dict[str, FitConfig],
    out: Path,
    base: Any,
    samples: list[Sample],
    held_out: list[Sample] | None,
    asked: dict[str, Any],
) -> list[Comparison]:
    from samtailor.compare import compare, compare_shots

    if recipe.shots:
        return compare_shots(runs, out, base, samples, held_out, shots=recipe.shots, **asked)
    return [compare(runs, out, base, samples, held_out, **asked)]


def _beside(recipe: Recipe, found: list[Comparison]) -> list[dict[str, Any]]:
    from samtailor.compare.recipes import beside

    summaries = [one.summary() for one in found]
    if not recipe.shots:
        return beside(recipe, summaries[0])
    by_shots = zip(recipe.shots, summaries, strict=True)
    table = {title: {} for title in recipe.runs}
    for count, summary in by_shots:
        for title in table:
            table[title][count] = summary[title]
    return beside(recipe, table)


def _write(
    recipe: Recipe,
    name: str,
    found: list[Comparison],
    rows: list[dict[str, Any]],
    shown: tuple[list[str], list[list[str]]],
    runs: dict[str, FitConfig],
    out: Path,
    where: Path,
    html: Path | None,
    data: str,
    base: Any,
) -> None:
    from samtailor import report
    from samtailor.cli import results
    from samtailor.compare.recipes import head

    measured = results.show("What was measured", found)
    about = {"recipe": name, "source": recipe.source, "columns": head(recipe), "notes": list(recipe.notes)}
    content = {**results.content_of(found, measured), **about, "rows": rows, "measured": measured}
    results.write_json(where, content, runs, data, base)
    results.write_table(Path(out, "table.md"), measured, found[0].regions)
    heading, cells = shown
    section = {
        "kind": "table",
        "title": recipe.title,
        "text": recipe.source,
        "head": heading,
        "rows": [{"cells": [{"text": cell} for cell in line], "strong": i % 2 == 0} for i, line in enumerate(cells)],
        "note": " ".join(recipe.notes),
    }
    sections = [section]
    if recipe.sweep is not None:
        values = {title: float(run.options[recipe.sweep]) for title, run in recipe.runs.items()}
        sections.append(report.sweep(measured, values, recipe.sweep))
    results.write_page(html or Path(out, "report.html"), found, runs, content, data, base, sections)


def _images(
    recipe: Recipe, data: Path | None, out: Path, count: int | None, test: int | None
) -> tuple[list[Sample], list[Sample] | None]:
    """Images to fit and to evaluate on; None for the latter where they are to be dealt out."""
    from samtailor.data.dataset import open_dataset

    if data is None:
        data = _drawn(recipe, out, count, test)
    classes = list(recipe.columns)
    if recipe.train or recipe.held_out:
        parts = (
            open_dataset(data, format=recipe.format, classes=classes, **o) for o in (recipe.train, recipe.held_out)
        )
        return tuple(parts)
    if (data / "train").is_dir() and (data / "test").is_dir():
        return tuple(open_dataset(data / part, format=recipe.format, classes=classes) for part in ("train", "test"))
    return open_dataset(data, format=recipe.format, classes=classes), None


def _drawn(recipe: Recipe, out: Path, count: int | None, test: int | None) -> Path:
    from samtailor.cli.screen import counting, say
    from samtailor.data.synth.write import build_dataset

    if recipe.synthetic is None:
        raise InputError("This recipe needs its data set: give the folder with --data.")
    made = recipe.synthetic | {k: v for k, v in (("count", count), ("test", test)) if v is not None}
    if (out / "data" / "dataset.json").is_file():
        say(f"Taking the images in {out / 'data'}.")
        return out / "data"
    with counting("drawing") as progress:
        build_dataset(out / "data", progress=progress, **made)
    return out / "data"
