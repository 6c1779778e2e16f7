"""`samtailor recipe`: a table of a paper, published figures beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.cli.compare import Seeds, watching, write_results
from samtailor.errors import InputError

if TYPE_CHECKING:
    from samtailor.recipes import Recipe
    from samtailor.types import Sample


def recipe_command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="celebamask-hq, banner or car-plate; none: list them.")
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
    seeds: Seeds = "0",
    steps: Annotated[int | None, typer.Option(min=1, metavar="N", help="Updates, instead of the paper's.")] = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Settings of the fits instead of the paper's; defaults: each method's own."),
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the fits, e.g. lr=5e-4.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="Drawn pictures to train on.")] = None,
    test: Annotated[int | None, typer.Option(min=1, metavar="N", help="Drawn test pictures.")] = None,
    json: options.Json = None,
    html: options.Html = None,
    device: options.Device = None,
) -> None:
    """Make a table of a paper on any base, with the published figures beside ours.

    --config defaults takes each method's own settings, which converge in minutes on small data, instead of the
    paper's 20,000 steps at 1e-5.
    """
    from samtailor.cli.screen import say, table
    from samtailor.recipes import beside, config_of, fit_settings, head, read, recipe_names, text

    if name is None:
        table("Recipes", ["", "", "source"], [[n, read(n).title, read(n).source] for n in recipe_names()])
        return
    recipe = _narrowed(read(name), options.names(classes), options.names(methods))
    out = out or Path("recipes", name)
    given = {"base": base, "steps": steps, "device": device, "trackers": (), **options.settings(setting or [])}
    runs = {}
    for title, run in recipe.runs.items():
        chosen = run.model_copy(update={"fit": None}) if config else run
        own = fit_settings(config) if config not in (None, "defaults") else {}
        runs[title] = config_of(chosen, **{**own, **given})
    samples, held_out = _pictures(recipe, data, out, count, test)
    found, loaded = _run(recipe, runs, out, base, device, samples, held_out, seeds)
    summary = found.summary()
    rows = beside(recipe, summary)
    cells = [
        [f"{row['title']}{end}", *map(text, row[side])]
        for row in rows
        for side, end in (("ours", ""), ("published", ", published"))
        if side == "ours" or any(cell is not None for cell in row["published"])
    ]
    table(f"{recipe.title} ({recipe.source})", ["mIoU, %", *head(recipe)], cells, "\n".join(recipe.notes))
    content = {
        "recipe": name,
        "source": recipe.source,
        "columns": head(recipe),
        "rows": rows,
        "notes": list(recipe.notes),
        "methods": summary,
        "seeds": list(found.seeds),
    }
    where = Path(out, f"{name}.json") if json is None else json
    write_results(where, html, found, runs, content, str(data or out / "data"), loaded)
    say(f"The table is in {where}.")


def _run(
    recipe: Recipe,
    runs: dict[str, Any],
    out: Path,
    base: str,
    device: str | None,
    samples: list[Sample],
    held_out: list[Sample] | None,
    seeds: str,
) -> tuple[Any, Any]:
    from samtailor.compare import compare
    from samtailor.embeddings import EmbeddingStore
    from samtailor.predict import load_on

    loaded = load_on(base, device)
    with watching() as watch:
        found = compare(
            runs,
            out,
            loaded,
            samples,
            held_out,
            seeds=[int(s) for s in options.numbers(seeds, range(1, 100), "seeds as 0,1,2")],
            classes=recipe.columns,
            per_class=recipe.per_class,
            store=EmbeddingStore(),
            watch=watch,
        )
    return found, loaded


def _narrowed(recipe: Recipe, classes: list[str] | None, methods: list[str] | None) -> Recipe:
    """Only some columns and methods; the published average then no longer belongs to the columns."""
    unknown = [c for c in classes or () if c not in recipe.columns]
    known = {run.method for run in recipe.runs.values()}
    unknown += [m for m in methods or () if m not in known]
    if unknown:
        raise InputError(f"The recipe has no {unknown[0]!r}: {', '.join(recipe.columns)}; {', '.join(sorted(known))}.")
    runs = {title: run for title, run in recipe.runs.items() if methods is None or run.method in methods}
    if classes is None or len(classes) == len(recipe.columns):
        return recipe.model_copy(update={"runs": runs})
    places = [recipe.columns.index(name) for name in classes]
    rows = {
        title: (*(row[i] for i in places), *([None] if len(places) > 1 else []))
        for title, row in recipe.published.items()
    }
    return recipe.model_copy(update={"runs": runs, "columns": tuple(classes), "published": rows})


def _pictures(
    recipe: Recipe, data: Path | None, out: Path, count: int | None, test: int | None
) -> tuple[list[Sample], list[Sample] | None]:
    """Pictures to fit and to evaluate on; None for the latter where they are to be dealt out."""
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
        say(f"Taking the pictures in {out / 'data'}.")
        return out / "data"
    with counting("drawing") as progress:
        build_dataset(out / "data", progress=progress, **made)
    return out / "data"
