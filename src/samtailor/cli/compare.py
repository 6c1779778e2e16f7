"""`samtailor compare`: compare methods on the same splits, seeds and prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import fit_engine, options
from samtailor.cli.rows import (
    Detector,
    DetectorClasses,
    PresetBase,
    Seeds,
    Setting,
    Shots,
    base_of,
    check_prompts,
    compared,
    detector_options,
    merged,
    seeds_of,
    settings_by_method,
    shots_of,
    test_options,
)
from samtailor.errors import InputError, counted

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.compare import Comparison
    from samtailor.structures import Sample
    from samtailor.train.config import FitConfig


def compare_command(
    data: options.Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the result; started again it continues.")],
    methods: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="Methods ({methods}) and baselines ({baselines}); the others are compared to the first.",
        ),
    ] = "sam,sam-f,plm,plm-pmm",
    shots: Shots = None,
    seeds: Seeds = "1",
    held_out: Annotated[
        Path | None,
        typer.Option(
            "--test",
            "--held-out",
            metavar="DATA",
            help="A separate test set; default: a fifth of DATA, chosen by each seed.",
        ),
    ] = None,
    preset: options.Preset = None,
    base: PresetBase = None,
    classes: options.Classes = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Fit one adapter for each class.")] = False,
    cross: Annotated[
        bool,
        typer.Option("--cross", help="With --per-class: evaluate each adapter on all classes (Kim et al., Fig. 6)."),
    ] = False,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Prompt source for all methods: {prompts}. Default: that of each method."),
    ] = None,
    regions: Annotated[
        bool,
        typer.Option("--regions", help="Evaluate on one region per image and class, without a prompt where possible."),
    ] = False,
    detector: Detector = None,
    detector_classes: DetectorClasses = None,
    refine: Annotated[
        bool, typer.Option("--refine", help="Add a row with the test-time refinement of the PMM.")
    ] = False,
    config: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="Settings of the fits from a YAML file, or paper.")
    ] = None,
    setting: Setting = None,
    format: options.Format = None,
    group: options.GroupRule = None,
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
    """Fit several methods with the same seeds on the same images and evaluate them on the same masks.

    Writes compare.json, table.md and report.html to OUT. With --shots there is a row for each number of shots, and no
    image beyond the shots chooses a state unless `val` is set.
    """
    from samtailor.bases import load_on
    from samtailor.cli import results
    from samtailor.cli.screen import say, summaries
    from samtailor.data.dataset import class_names, open_dataset
    from samtailor.fitting.store import open_store
    from samtailor.registry import find
    from samtailor.train.presets import describe

    fits = fit_engine.fits_on(engine, address, gpus)
    wanted, named, counts = options.names(classes), _named(methods, config), shots_of(shots)
    if held_out is not None and held_out.resolve() == data.resolve():
        raise InputError("--test is DATA itself: test images must not be training images.")
    base = base_of(base, preset)
    given = {"preset": preset, "base": base, "format": format, "group": group, "device": device, "trackers": ()}
    settings, runs, of_test = _runs(named, config, given, setting or [], detector, detector_classes)
    if of_test and held_out is None:
        raise InputError("test_options are options of the data set of --test, which is not given.")
    if preset is not None:
        say(f"Settings: preset {preset}, {describe(find('presets', preset))}.")
    more = settings.data_options
    samples = open_dataset(data, format=settings.format, classes=wanted, group=group, **more)
    held = open_dataset(held_out, format=settings.format, classes=wanted, **{**more, **of_test}) if held_out else None
    loaded, store = load_on(base, device), open_store(*runs.values())
    how = {
        "seeds": seeds_of(seeds),
        "classes": wanted,
        "per_class": per_class,
        "prompt": prompt,
        "regions": regions,
        "refine": refine,
        "store": store,
        "workers": options.workers(workers),
    }
    with fits:
        comparisons = compared(runs, out, loaded, samples, held, shots=counts, **how)
    if counts is None:
        note = f"Percent, {counted(len(comparisons[0].seeds), 'seed')}; intervals: bootstrap over groups of images."
        summaries(str(data), comparisons[0].summary(), note)
    rows = results.show(str(data), comparisons)
    matrices = cross_tables(comparisons[-1], list(runs), loaded, held or samples, store) if cross and per_class else {}
    opened = {"format": settings.format, "options": more, "prompt": prompt}
    opened |= {"test": str(held_out) if held_out else None, "test_options": {**more, **of_test}}
    names = list(wanted or class_names(held or samples))
    about = {"data": str(data), "cross_model": matrices, "opened": opened, "classes": names}
    shown = results.image_grid(comparisons[-1], loaded, held or samples, names, prompt, store)
    content = {**results.content_of(comparisons, rows, out), **about}
    # comparison.json: the name of this file before there were shots
    files = [json] if json else [out / "compare.json", *([out / "comparison.json"] * (counts is None))]
    _write(files, html or out / "report.html", out / "table.md", comparisons, content, runs, loaded, shown)
    say(f"Table, report, fits and scores are in {out}.")


def _named(methods: str, config: str | None) -> list[str]:
    """Names of the rows, each of them known; `--config paper` is refused for those that it is not for."""
    from samtailor.cli.fit import refuse_paper
    from samtailor.compare.entries import kind_of

    named = options.listed(methods)
    for name in named:
        kind_of(name)
    refuse_paper(config, [name for name in named if name != "sam"])
    return named


def _runs(
    named: list[str],
    config: str | None,
    given: Mapping[str, Any],
    setting: list[str],
    detector: str | None,
    detector_classes: str | None,
) -> tuple[FitConfig, dict[str, FitConfig], dict[str, Any]]:
    """Settings that all rows share, those of each row by title, and options of the data set of --test."""
    from samtailor.cli.fit import settings_of
    from samtailor.compare import variants

    general, by_method = settings_by_method(setting, named)
    by_method = merged(detector_options(detector, detector_classes, named), by_method)
    general, of_test = test_options(general)
    settings = settings_of(config, given, general)
    runs = variants(settings, named, by_method)
    check_prompts(runs)
    return settings, runs, of_test


def _write(
    files: Sequence[Path],
    page: Path,
    table: Path,
    comparisons: Sequence[Comparison],
    content: Mapping[str, Any],
    runs: Mapping[str, FitConfig],
    base: Base,
    image_grid: Any,
) -> None:
    """Write the JSON files, the page and the table in Markdown."""
    from samtailor.cli import results

    data = content["data"]
    results.write_json(files[0], content, runs, data, base, files[1:])
    results.write_table(table, content["rows"], comparisons[0].regions)
    results.write_page(page, comparisons, runs, content, data, base, image_grid=image_grid)


def cross_tables(
    comparison: Comparison, names: Sequence[str], base: Base, samples: Sequence[Sample], store: EmbeddingCache
) -> dict[str, Any]:
    """Print, and return by method, the scores of the adapters of the first seed on all classes."""
    from samtailor import artefact
    from samtailor.cli.screen import percent, table
    from samtailor.compare import cross_model

    matrices: dict[str, Any] = {}
    seed = comparison.seeds[0]
    ids = set(comparison.held_out[seed])
    for name in names:
        adapters = [
            artefact.load(folder, base)
            for key, folder in comparison.folders.items()
            if folder is not None and key.startswith(f"{name}/{seed}/")
        ]
        if not adapters:
            continue
        columns = [adapter.meta.classes[0] for adapter in adapters]
        segmenters = {f"{a.meta.classes[0]} adapter": a.segmenter for a in adapters}
        held_out = [sample for sample in samples if sample.id in ids]
        matrix: Mapping[str, Any] = cross_model(base, segmenters, held_out, columns, store=store)
        rows = [[row, *map(percent, cells)] for row, cells in zip(matrix["rows"], matrix["miou"], strict=True)]
        table(f"{name}: mIoU of each adapter (row) on each class (column)", ["", *columns], rows)
        matrices[name] = matrix
    return matrices
