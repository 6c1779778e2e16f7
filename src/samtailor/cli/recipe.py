"""`samtailor recipe`: reproduce a table of a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.cli.rows import (
    Detector,
    DetectorClasses,
    Seeds,
    Setting,
    detector_options,
    merged,
    seeds_of,
    settings_by_method,
    shots_of,
)
from samtailor.errors import InputError
from samtailor.registry import BUNDLED_BASE

if TYPE_CHECKING:
    from samtailor.compare import Comparison
    from samtailor.compare.recipes import Recipe
    from samtailor.structures import Sample
    from samtailor.train.config import FitConfig


def recipe_command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="{recipes}. Without a name: list them.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the data set; the banner recipe draws its own into OUT/data."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the result; default: recipes/NAME.")
    ] = None,
    base: options.Base = BUNDLED_BASE,
    classes: Annotated[str | None, typer.Option(metavar="NAME,...", help="Reproduce only these columns.")] = None,
    methods: Annotated[str | None, typer.Option(metavar="NAME,...", help="Reproduce only these methods.")] = None,
    shots: Annotated[str | None, typer.Option(metavar="K,...", help="Reproduce only these numbers of shots.")] = None,
    seeds: Seeds = "1",
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Training steps, instead of those of the paper.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Settings instead of those of the paper; defaults: the default settings of each method.",
        ),
    ] = None,
    setting: Setting = None,
    detector: Detector = None,
    detector_classes: DetectorClasses = None,
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="Number of drawn training images.")] = None,
    test: Annotated[int | None, typer.Option(min=1, metavar="N", help="Number of drawn test images.")] = None,
    workers: options.Workers = 1,
    json: options.Json = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="HTML report; default: OUT/report.html.")
    ] = None,
    device: options.Device = None,
) -> None:
    """Reproduce a table of a paper with any base model, with the published numbers for comparison.

    --config defaults uses the default settings of each method, which converge in minutes on small data, instead of
    the 20,000 steps at 1e-5 of the paper.
    """
    from samtailor.bases import load_on
    from samtailor.cli.progress import watching
    from samtailor.cli.screen import say, table
    from samtailor.compare.recipes import head, narrowed, read, recipe_names, text
    from samtailor.fitting.store import open_store

    if name is None:
        table("Recipes", ["", "", "source"], [[n, read(n).title, read(n).source] for n in recipe_names()])
        return
    recipe = narrowed(read(name), options.names(classes), options.names(methods), shots_of(shots))
    out = out or Path("recipes", name)
    given = {"base": base, "steps": steps, "device": device, "trackers": ()}
    runs = _runs(recipe, config, given, setting or [], detector, detector_classes)
    samples, held_out = _images(recipe, data, out, count, test)
    loaded = load_on(base, device)
    with watching() as watch:
        how: dict[str, Any] = {
            "seeds": seeds_of(seeds),
            "classes": recipe.columns,
            "per_class": recipe.per_class,
            "store": open_store(*runs.values()),
            "workers": options.workers(workers),
            "watch": watch,
        }
        comparisons = _compared(recipe, runs, out, loaded, samples, held_out, how)
    rows = _beside(recipe, comparisons)
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
    _write(recipe, name, comparisons, rows, (heading, cells), runs, out, where, html, str(data or out / "data"), loaded)
    say(f"The table is in {where}.")


def _runs(
    recipe: Recipe,
    config: str | None,
    given: dict[str, Any],
    setting: list[str],
    detector: str | None,
    detector_classes: str | None,
) -> dict[str, FitConfig]:
    """Settings of the rows by title: of the paper or `config`, then of the command line, then of single methods."""
    from samtailor.cli.fit import settings_of
    from samtailor.compare.recipes import config_of, fit_settings

    names = list(dict.fromkeys(run.method for run in recipe.runs.values()))
    general, by_method = settings_by_method(setting, names)
    by_method = merged(detector_options(detector, detector_classes, names), by_method)
    common = settings_of(None, given, general)
    fields = {key: getattr(common, key) for key in common.model_fields_set}
    if config is not None and config != "defaults":
        fields = fit_settings(config) | fields
    runs = {}
    for title, run in recipe.runs.items():
        chosen = run.model_copy(update={"fit": None}) if config else run
        runs[title] = config_of(chosen, **merged({"": fields}, {"": by_method[run.method]})[""])
    return runs


def _compared(
    recipe: Recipe,
    runs: dict[str, FitConfig],
    out: Path,
    base: Any,
    samples: list[Sample],
    held_out: list[Sample] | None,
    how: dict[str, Any],
) -> list[Comparison]:
    from samtailor.compare import compare, compare_shots

    if recipe.shots:
        return compare_shots(runs, out, base, samples, held_out, shots=recipe.shots, **how)
    return [compare(runs, out, base, samples, held_out, **how)]


def _beside(recipe: Recipe, comparisons: list[Comparison]) -> list[dict[str, Any]]:
    from samtailor.compare.recipes import beside

    summaries = [one.summary() for one in comparisons]
    if not recipe.shots:
        return beside(recipe, summaries[0])
    by_shots = zip(recipe.shots, summaries, strict=True)
    table: dict[str, dict[Any, Any]] = {title: {} for title in recipe.runs}
    for count, summary in by_shots:
        for title in table:
            table[title][count] = summary[title]
    return beside(recipe, table)


def _write(
    recipe: Recipe,
    name: str,
    comparisons: list[Comparison],
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

    measured = results.show("Measured", comparisons)
    about = {"recipe": name, "source": recipe.source, "columns": head(recipe), "notes": list(recipe.notes)}
    content = {**results.content_of(comparisons, measured), **about, "rows": rows, "measured": measured}
    results.write_json(where, content, runs, data, base)
    results.write_table(Path(out, "table.md"), measured, comparisons[0].regions)
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
    results.write_page(html or Path(out, "report.html"), comparisons, runs, content, data, base, sections)


def _images(
    recipe: Recipe, data: Path | None, out: Path, count: int | None, test: int | None
) -> tuple[list[Sample], list[Sample] | None]:
    """Training and test images; None for the latter if each seed chooses them from the former."""
    from samtailor.data.dataset import open_dataset

    if data is None:
        data = _drawn(recipe, out, count, test)
    classes = list(recipe.columns)
    if recipe.train or recipe.held_out:
        train = open_dataset(data, format=recipe.format, classes=classes, **recipe.train)
        return train, open_dataset(data, format=recipe.format, classes=classes, **recipe.held_out)
    if (data / "train").is_dir() and (data / "test").is_dir():
        train = open_dataset(data / "train", format=recipe.format, classes=classes)
        return train, open_dataset(data / "test", format=recipe.format, classes=classes)
    return open_dataset(data, format=recipe.format, classes=classes), None


def _drawn(recipe: Recipe, out: Path, count: int | None, test: int | None) -> Path:
    from samtailor.cli.progress import counting
    from samtailor.cli.screen import say
    from samtailor.data.synth.write import build_dataset

    if recipe.synthetic is None:
        raise InputError("This recipe needs its data set: --data DIR.")
    made = recipe.synthetic | {k: v for k, v in (("count", count), ("test", test)) if v is not None}
    if (out / "data" / "dataset.json").is_file():
        say(f"Using the images in {out / 'data'}.")
        return out / "data"
    with counting("Drawing images") as progress:
        build_dataset(out / "data", progress=progress, **made)
    return out / "data"
