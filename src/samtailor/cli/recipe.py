"""`samtailor recipe`: reproduce a table of a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import fit_engine, options
from samtailor.cli.fit import PAPER
from samtailor.cli.recipe_table import (
    differing_section,
    differing_settings,
    joined,
    section,
    settings_line,
    show,
    write_joined,
)
from samtailor.cli.rows import (
    Detector,
    DetectorClasses,
    PresetBase,
    Seeds,
    Setting,
    base_of,
    check_prompts,
    compared,
    detector_options,
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
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="{recipes}. Without a name: list them.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the data set; the banner recipe draws its own into OUT/data."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the result; default: recipes/NAME.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|defaults|both",
            help="Settings: those of the paper (default), the defaults of each method, or both in turn.",
        ),
    ] = None,
    base: PresetBase = None,
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
            help="Settings from a YAML file that are added to those of --preset; defaults: as --preset defaults.",
        ),
    ] = None,
    setting: Setting = None,
    detector: Detector = None,
    detector_classes: DetectorClasses = None,
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="Number of drawn training images.")] = None,
    test: Annotated[int | None, typer.Option(min=1, metavar="N", help="Number of drawn test images.")] = None,
    workers: options.Workers = 1,
    engine: fit_engine.Engine = fit_engine.PROCESSES,
    address: fit_engine.Address = None,
    gpus: fit_engine.Gpus = 0.0,
    json: options.Json = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="HTML report; default: OUT/report.html.")
    ] = None,
    device: options.Device = None,
) -> None:
    """Reproduce a table of a paper with any base model, with the published numbers for comparison.

    A recipe runs with the settings of its paper and prints where the defaults differ. --preset defaults uses the
    default settings of each method, which converge in minutes on small data; --preset both shows both rows.
    """
    from samtailor.bases import load_on
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.cli import results
    from samtailor.cli.screen import say, table
    from samtailor.compare.recipes import DEFAULTS, differing, narrowed, read, recipe_names, variants_of
    from samtailor.fitting.store import open_store

    if name is None:
        table("Recipes", ["", "", "source"], [[n, read(n).title, read(n).source] for n in recipe_names()])
        return
    fit_engine.fits_on(engine, address, gpus)  # wrong options are reported before anything is drawn
    if config == PAPER:
        raise InputError("A recipe has the settings of its paper already; leave --config paper out.")
    recipe = narrowed(read(name), options.names(classes), options.names(methods), shots_of(shots))
    out = out or Path("recipes", name)
    wanted, config = (DEFAULTS, None) if config == DEFAULTS else (preset, config)
    variants = variants_of(recipe, wanted)
    base = base_of(base, variants[0])
    given = {"base": base, "steps": steps, "device": device, "trackers": ()}
    settings = {v: _runs(recipe, v, config, given, setting or [], detector, detector_classes) for v in variants}
    for runs in settings.values():
        check_prompts(runs)
    samples, held_out = _images(recipe, data, out, count, test)
    loaded = load_on(base, device)
    tables = {}
    for variant, runs in settings.items():
        say(settings_line(variant))
        folder = out if len(variants) == 1 else out / (variant or DEFAULTS)
        with fit_engine.fits_on(engine, address, gpus):
            comparisons = compared(
                runs, folder, loaded, samples, held_out, shots=recipe.shots, seeds=seeds_of(seeds),
                classes=recipe.columns, per_class=recipe.per_class, store=open_store(*runs.values()),
                workers=options.workers(workers),
            )  # fmt: skip
        tables[variant] = _beside(recipe, comparisons)
        source = str(data or out / "data")
        single = len(variants) == 1
        files = (json if single else None) or folder / f"{name}.json", (html if single else None)
        shown = results.image_grid(comparisons[-1], loaded, held_out or samples, recipe.columns, None, EmbeddingCache())
        _write(recipe, name, variant, comparisons, tables[variant], runs, folder, files, source, loaded, shown)
    rows = joined(tables, differing(recipe))
    show(recipe, rows)
    differing_settings(recipe, settings)
    if len(variants) > 1:
        write_joined(json or out / f"{name}.json", recipe, name, rows, source)
    say(f"The table is in {json or out / f'{name}.json'}.")


def _runs(
    recipe: Recipe,
    preset: str | None,
    config: str | None,
    given: dict[str, Any],
    setting: list[str],
    detector: str | None,
    detector_classes: str | None,
) -> dict[str, FitConfig]:
    """Settings of the rows by title: preset, file, command line, then those of single methods."""
    from samtailor.cli.fit import settings_of
    from samtailor.compare.recipes import config_of, fit_settings

    names = list(dict.fromkeys(run.method for run in recipe.runs.values()))
    general, by_method = settings_by_method(setting, names)
    by_method = merged(detector_options(detector, detector_classes, names), by_method)
    common = settings_of(None, given, general)
    fields = {key: getattr(common, key) for key in common.model_fields_set}
    if config is not None:
        fields = fit_settings(config) | fields
    return {
        title: config_of(run, preset, **merged({"": fields}, {"": by_method[run.method]})[""])
        for title, run in recipe.runs.items()
    }


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
    preset: str | None,
    comparisons: list[Comparison],
    rows: list[dict[str, Any]],
    runs: dict[str, FitConfig],
    out: Path,
    files: tuple[Path, Path | None],
    data: str,
    base: Any,
    image_grid: Any,
) -> None:
    """Write JSON, table and page of one variant."""
    from samtailor import report
    from samtailor.cli import results
    from samtailor.compare.recipes import head

    measured = results.show("Measured", comparisons)
    about: dict[str, Any] = {
        "recipe": name,
        "source": recipe.source,
        "columns": head(recipe),
        "notes": list(recipe.notes),
    }
    about |= {"preset": preset, "sweep": recipe.sweep, "classes": list(recipe.columns), "opened": _opened(recipe, data)}
    content = {**results.content_of(comparisons, measured, out), **about, "rows": rows, "measured": measured}
    results.write_json(files[0], content, runs, data, base)
    results.write_table(Path(out, "table.md"), measured, comparisons[0].regions)
    sections = [section(recipe, rows), *differing_section(recipe, {preset: runs})]
    if recipe.sweep is not None:
        values = {title: float(run.options[recipe.sweep]) for title, run in recipe.runs.items()}
        sections.append(report.sweep(measured, values, recipe.sweep))
    results.write_page(
        files[1] or Path(out, "report.html"), comparisons, runs, content, data, base, sections, image_grid
    )


def _opened(recipe: Recipe, data: str) -> dict[str, Any]:
    """Where the images are, for `samtailor figures`."""
    opened: dict[str, Any] = {"format": recipe.format, "options": recipe.train, "prompt": None, "test": None}
    if recipe.train or recipe.held_out:
        return opened | {"test": data, "test_options": recipe.held_out}
    if Path(data, "train").is_dir() and Path(data, "test").is_dir():
        return opened | {"test": str(Path(data, "test")), "test_options": {}}
    return opened


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
