"""`samtailor compare`: several methods on the same split, seeds and clicks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options

if TYPE_CHECKING:
    from samtailor.compare import Watch

Seeds = Annotated[str, typer.Option(metavar="S,...", help="Seeds, the same for every method.")]


def compare_command(
    data: options.Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder; started again it goes on where it was.")],
    methods: Annotated[str, typer.Option(metavar="NAME,...", help="Methods to compare.")] = "sam,sam-f,plm,plm-pmm",
    seeds: Seeds = "0",
    held_out: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Test pictures; default: a fifth of DATA, by each seed.")
    ] = None,
    base: options.Base = "nano",
    classes: options.Classes = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="One adapter a class, as Kim et al.")] = False,
    cross: Annotated[
        bool, typer.Option("--cross", help="With --per-class: every adapter on every class (Kim et al., Fig. 6).")
    ] = False,
    prompt: options.Prompt = "mask-center",
    refine: Annotated[bool, typer.Option("--refine", help="Also PMM's test-time refinement, as its own row.")] = False,
    config: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="Settings of the fits: a YAML file, or paper.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the fits, e.g. steps=500.")
    ] = None,
    format: options.Format = None,
    group: options.GroupRule = None,
    workers: options.Workers = 1,
    json: options.Json = None,
    html: options.Html = None,
    device: options.Device = None,
) -> None:
    """Fit several methods with the same seeds on the same pictures and compare them on the same clicks."""
    from samtailor.cli.fit import settings_of
    from samtailor.cli.screen import say, summaries
    from samtailor.compare import compare, variants
    from samtailor.data.dataset import open_dataset
    from samtailor.embeddings import EmbeddingStore
    from samtailor.predict import load_on

    wanted = options.names(classes)
    given = {"base": base, "format": format, "group": group, "device": device, "trackers": ()}
    runs = variants(settings_of(config, given, setting or []), options.names(methods))
    samples = open_dataset(data, format=format, classes=wanted, group=group)
    held = open_dataset(held_out, format=format, classes=wanted) if held_out else None
    loaded, store = load_on(base, device), EmbeddingStore()
    with watching() as watch:
        found = compare(
            runs,
            out,
            loaded,
            samples,
            held,
            seeds=[int(s) for s in options.numbers(seeds, range(1, 100), "seeds as 0,1,2")],
            classes=wanted,
            per_class=per_class,
            prompt=prompt,
            refine=refine,
            store=store,
            workers=options.workers(workers),
            watch=watch,
        )
    summary = found.summary()
    summaries(str(data), summary, f"Percent, {len(found.seeds)} seeds; intervals: bootstrap over groups of pictures.")
    matrices = cross_tables(found, runs, loaded, held or samples, store) if cross and per_class else {}
    content = {"methods": summary, "seeds": list(found.seeds), "cross_model": matrices}
    write_results(Path(out, "comparison.json") if json is None else json, html, found, runs, content, str(data), loaded)
    say(f"Fits and scores are in {out}.")


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


def write_results(
    json: Path, html: Path | None, found: Any, runs: Any, content: dict[str, Any], data: str, base: Any
) -> None:
    """The JSON, and the page if it is wanted."""
    from samtailor import report
    from samtailor.data.picture import write_json
    from samtailor.pages import history_of

    settings = {name: config.to_dict() for name, config in runs.items()}
    write_json(json, {**content, "settings": settings, "data": data, "versions": report.versions()})
    if html is None:
        return
    pooled = found.pooled()
    histories = {
        key.split("/")[0]: history_of(folder)
        for key, folder in found.folders.items()
        if folder is not None and key.split("/")[1] == str(found.seeds[0])
    }
    pairs = {"data": data, "base": base.name, "base's fingerprint": base.fingerprint, "seeds": list(found.seeds)}
    sections = [
        report.headline(pooled, f"{len(found.seeds)} seeds, pooled."),
        report.seed_table(content["methods"]) if len(found.seeds) > 1 else None,
        report.class_table(pooled),
        *(report.matrix(name, one) for name, one in content.get("cross_model", {}).items()),
        report.curves(histories),
        report.settings("Settings", pairs | {"versions": report.versions()}, settings),
    ]
    report.write_page(html, f"Comparison on {Path(data).name}", "Same pictures, same seeds, same clicks.", sections)
