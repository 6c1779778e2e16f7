"""`samtailor compare`: several methods on the same split, seeds and clicks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.cli.rows import (
    Detector,
    DetectorClasses,
    Seeds,
    Setting,
    Shots,
    detected,
    merged,
    seeds_of,
    settings_by_method,
    shots_of,
)
from samtailor.errors import InputError, counted

if TYPE_CHECKING:
    from samtailor.compare import Watch


def compare_command(
    data: options.Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder; started again it goes on where it was.")],
    methods: Annotated[
        str, typer.Option(metavar="NAME,...", help="Methods and baselines; the first is what others are compared to.")
    ] = "sam,sam-f,plm,plm-pmm",
    shots: Shots = None,
    seeds: Seeds = "1",
    held_out: Annotated[
        Path | None,
        typer.Option(
            "--test",
            "--held-out",
            metavar="DATA",
            help="A test set of its own; default: a fifth of DATA, by each seed.",
        ),
    ] = None,
    base: options.Base = "nano",
    classes: options.Classes = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="One adapter a class, as Kim et al.")] = False,
    cross: Annotated[
        bool, typer.Option("--cross", help="With --per-class: every adapter on every class (Kim et al., Fig. 6).")
    ] = False,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Ask all methods with this prompt source; default: each with its own."),
    ] = None,
    detector: Detector = None,
    detector_classes: DetectorClasses = None,
    refine: Annotated[bool, typer.Option("--refine", help="Also PMM's test-time refinement, as its own row.")] = False,
    config: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="Settings of the fits: a YAML file, or paper.")
    ] = None,
    setting: Setting = None,
    format: options.Format = None,
    group: options.GroupRule = None,
    workers: options.Workers = 1,
    json: options.Json = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="The report; default: OUT/report.html.")
    ] = None,
    device: options.Device = None,
) -> None:
    """Fit several methods with the same seeds on the same images and compare them on the same masks.

    OUT gets compare.json, table.md and report.html. With --shots each number of shots is a row, and without a `val` of
    your own no image beyond the shots chooses a state.
    """
    from samtailor.bases import load_on
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.cli import results
    from samtailor.cli.fit import settings_of
    from samtailor.cli.screen import say, summaries
    from samtailor.compare import compare, compare_shots, variants
    from samtailor.compare.entries import kind_of
    from samtailor.data.dataset import open_dataset

    wanted, listed, counts = options.names(classes), options.names(methods), shots_of(shots)
    for name in listed:
        kind_of(name)
    if held_out is not None and held_out.resolve() == data.resolve():
        raise InputError("--test is DATA itself: the images to judge on must not be among those to fit on.")
    general, own = settings_by_method(setting or [], listed)
    own = merged(detected(detector, detector_classes, listed), own)
    given = {"base": base, "format": format, "group": group, "device": device, "trackers": ()}
    runs = variants(settings_of(config, given, general), listed, own)
    samples = open_dataset(data, format=format, classes=wanted, group=group)
    held = open_dataset(held_out, format=format, classes=wanted) if held_out else None
    loaded, store = load_on(base, device), EmbeddingCache()
    asked = {"seeds": seeds_of(seeds), "classes": wanted, "per_class": per_class, "prompt": prompt, "refine": refine}
    with watching() as watch:
        asked |= {"store": store, "workers": options.workers(workers), "watch": watch}
        if counts is None:
            found = [compare(runs, out, loaded, samples, held, **asked)]
        else:
            found = compare_shots(runs, out, loaded, samples, held, shots=counts, **asked)
    if counts is None:
        note = f"Percent, {counted(len(found[0].seeds), 'seed')}; intervals: bootstrap over groups of images."
        summaries(str(data), found[0].summary(), note)
    rows = results.show(str(data), found)
    matrices = cross_tables(found[-1], runs, loaded, held or samples, store) if cross and per_class else {}
    content = {**results.content_of(found, rows), "cross_model": matrices}
    # comparison.json: the name that this file had before there were shots
    places = [json] if json else [Path(out, "compare.json"), *([Path(out, "comparison.json")] * (counts is None))]
    results.write_json(places[0], content, runs, str(data), loaded, places[1:])
    results.write_table(Path(out, "table.md"), rows, found[0].regions)
    results.write_page(html or Path(out, "report.html"), found, runs, content, str(data), loaded)
    say(f"Table, report, fits and scores are in {out}.")


@contextmanager
def watching() -> Iterator[Watch]:
    """Progress bars named after what is going on; a row each for what goes on at once."""
    from samtailor.cli.fit import fit_progress

    with fit_progress() as show:
        yield lambda what, progress: show(replace(progress, name=what))


def cross_tables(found: Any, runs: Any, base: Any, samples: Any, store: Any) -> dict[str, Any]:
    """By method: adapters of the first seed on every class."""
    from samtailor import artefact
    from samtailor.cli.screen import percent, table
    from samtailor.compare import cross_model

    matrices: dict[str, Any] = {}
    for name in runs:
        own = {
            key.split("/")[2]: artefact.load(folder, base)
            for key, folder in found.folders.items()
            if folder is not None and key.startswith(f"{name}/{found.seeds[0]}/")
        }
        if own:
            columns = [adapter.meta.classes[0] for adapter in own.values()]
            segmenters = {f"{a.meta.classes[0]} adapter": a.segmenter for a in own.values()}
            ids = set(found.held_out[found.seeds[0]])
            held = [sample for sample in samples if sample.id in ids]
            matrices[name] = cross_model(base, segmenters, held, columns, store=store)
            rows = [
                [row, *map(percent, cells)]
                for row, cells in zip(matrices[name]["rows"], matrices[name]["miou"], strict=True)
            ]
            table(f"{name}: adapter (row) asked for class (column), mIoU", ["", *columns], rows)
    return matrices
