"""`samtailor propose-fit`: teach an adapter where to look, so that it needs no clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from samtailor.cli import options


def propose_fit_command(
    data: options.Data,
    adapter: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the adapter; the proposals are put into it.")],
    classes: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Classes to propose; default: the adapter's.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Updates of each head (seven are trained); default: 600.")
    ] = None,
    negatives: Annotated[
        int, typer.Option(min=0, metavar="N", help="At most so many images without an object are trained on.")
    ] = 64,
    views: Annotated[
        int, typer.Option(min=1, metavar="N", help="Views of each image (flip, crop, colour); 1: no augmentation.")
    ] = 4,
    tiles: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Look in N x N tiles too, for small objects; default: by their size, 1 to 3."
        ),
    ] = None,
    give: Annotated[
        str | None, typer.Option(metavar="points|boxes", help="What is asked with; default: as the adapter was fitted.")
    ] = None,
    seed: options.Seed = 0,
    format: options.Format = None,
    group: options.GroupRule = None,
    json: options.Json = None,
    device: options.Device = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Learnt proposals from the same masks, then `samtailor predict IMAGES --adapter DIR --prompt auto`.

    Trains on the images that the adapter was fitted on when DATA is the folder it was fitted on, else on all of them.
    Images without an object serve as negatives, so every object of the classes must be marked.
    """
    from samtailor import artefact
    from samtailor.bases import load_on
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.cli.screen import counting, percent, say, table
    from samtailor.data.augment import UNTOUCHED
    from samtailor.data.dataset import open_dataset
    from samtailor.data.image import write_json
    from samtailor.data.regions import regions
    from samtailor.errors import InputError
    from samtailor.fitting.proposals import evaluate_proposals, fit_proposals, parts, plan_tiles
    from samtailor.predict import auto as automatic
    from samtailor.proposals import disk

    meta = artefact.read_meta(adapter)
    if disk.exists(adapter) and not overwrite:
        raise InputError(f"{adapter} has proposals already. Replace them with --overwrite.")
    wanted = tuple(options.names(classes) or meta.classes)
    samples = open_dataset(data, format=format, group=group)
    samples = regions(samples, wanted) if meta.inference.regions else samples
    train, held_out = parts(samples, wanted, adapter, data, negatives)
    base, store = load_on(meta.base.name, device), EmbeddingCache()
    artefact.load(adapter, base)  # a damaged or foreign adapter is said before anything is trained
    tiles, augment = plan_tiles(train, wanted, base, views=views, tiles=tiles)
    seen = [(sample, augment.draw(sample, index)) for sample in train for index in range(views)]
    seen += [(sample, UNTOUCHED) for sample in held_out]
    with counting("encoding") as progress:
        store.prepare(base, [s for s, _ in seen], [v for _, v in seen], progress=progress)
    how = give or automatic.prompt_type_of(meta.inference.prompt)
    with counting("proposals") as progress:
        asked = {"seed": seed, "steps": steps, "augment": augment, "give": how, "tiles": tiles, "progress": progress}
        found = fit_proposals(base, train, wanted, store, **asked)
    if held_out:
        found.figures["held_out"] = evaluate_proposals(found, base, held_out, store)
    found.save(adapter)
    judged = "held_out" if held_out else "cross_fitted"
    figures: dict[str, Any] = found.figures.get(judged, {})
    rows = [
        [
            label,
            percent(one["recall_points"]),
            percent(one["recall_boxes"]),
            percent(one["precision_points"]),
            percent(one["false_positive_rate"]),
            f"{one['objects']} / {one['images']} / {one['negatives']}",
        ]
        for label, one in figures.items()
    ]
    head = ["", "recall (points)", "recall (boxes)", "precision", "false-positive rate", "objects / images / empty"]
    table(f"{len(train)} images, judged on {judged.replace('_', ' ')} ones", head, rows, _NOTE)
    if json is not None:
        write_json(json, found.figures)
    looked = "" if tiles == 1 else f", in {tiles} x {tiles} tiles"
    say(f"The proposals ({found.parameters:,} parameters, {how}{looked}) are in {adapter}.")


_NOTE = (
    "Percent. Points: on an object, each object once; boxes: IoU of at least 0.5. False-positive rate: share of the "
    "images without an object in which anything is proposed."
)
