"""`samtailor propose-fit`: train proposals, so that an adapter finds objects without prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.errors import InputError

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.bases.companions import Companion
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.data.augment import Augment
    from samtailor.structures import Sample


def propose_fit_command(
    data: options.Data,
    adapter: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Folder of the adapter, or of a fit with --per-class; the proposals are added to it.",
        ),
    ],
    classes: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Classes to propose; default: those of the adapter.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Training steps of each of the seven heads; default: 600."),
    ] = None,
    negatives: Annotated[
        int, typer.Option(min=0, metavar="N", help="Maximum number of training images without an object.")
    ] = 64,
    views: Annotated[
        int, typer.Option(min=1, metavar="N", help="Augmented views per image (flip, crop, color); 1: no augmentation.")
    ] = 4,
    tiles: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Also search N x N tiles, for small objects; default: 1 to 3, by their size."
        ),
    ] = None,
    companion: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Network whose features are read beside the base's: none, bundled, or a DINOv2 or DINOv3 by hub id or "
            "folder; default: that of the adapter.",
        ),
    ] = None,
    prompt_type: options.PromptType = None,
    seed: options.Seed = 0,
    format: options.Format = None,
    group: options.GroupRule = None,
    setting: options.DataSetting = None,
    json: options.Json = None,
    cache_gb: options.CacheGb = None,
    device: options.Device = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Train proposals from the same masks; then run `samtailor label IMAGES --adapter DIR`.

    Uses the training images of the adapter if DATA is the data set that it was fitted on, otherwise all images. Images
    without an object are negatives, so all objects of the classes must be annotated. DATA is read with the format and
    the options (--set) that the adapter was fitted with, unless others are given.
    """
    from samtailor import artefact
    from samtailor.cli.screen import say
    from samtailor.data.image import write_json
    from samtailor.proposals import disk

    options.limit_cache(cache_gb)
    adapters = artefact.members(adapter) or {adapter.name: str(adapter)}
    if classes and len(adapters) > 1:
        raise InputError(f"{adapter} holds one adapter for each class: {', '.join(adapters)}. Leave --classes out.")
    for folder in adapters.values():
        artefact.read_meta(folder)
        if disk.exists(folder) and not overwrite:
            raise InputError(f"{folder} already has proposals. Replace them with --overwrite.")
    reading = {"format": format, "group": group, "given": options.data_options(setting)}
    training = {"negatives": negatives, "views": views, "tiles": tiles, "steps": steps, "seed": seed}
    figures = {}
    for name, folder in adapters.items():
        if len(adapters) > 1:
            say(f"Adapter {name}:")
        figures[name] = _propose(
            data, Path(folder), tuple(options.names(classes) or ()), reading, training,
            companion=companion, prompt_type=prompt_type, device=device,
        )  # fmt: skip
    if json is not None:
        write_json(json, figures if len(adapters) > 1 else next(iter(figures.values())))


def _propose(
    data: Path,
    adapter: Path,
    classes: tuple[str, ...],
    reading: dict[str, Any],
    training: dict[str, Any],
    *,
    companion: str | None,
    prompt_type: str | None,
    device: str | None,
) -> dict[str, Any]:
    """Train, judge and save the proposals of one adapter; returns their figures."""
    from samtailor import artefact
    from samtailor.bases import load_on
    from samtailor.bases.companions import load_companion
    from samtailor.cache.embeddings import EmbeddingCache
    from samtailor.cli.progress import counting
    from samtailor.cli.screen import say
    from samtailor.data.folder_lock import locked
    from samtailor.data.regions import regions
    from samtailor.data.split import Split
    from samtailor.evaluation.instance_gate import gate_instances
    from samtailor.fitting.gate import Gate
    from samtailor.fitting.gate_words import sentences
    from samtailor.fitting.proposals import evaluate_proposals, fit_proposals, parts, plan_tiles
    from samtailor.fitting.verdict import count_sentence
    from samtailor.predict import auto as automatic

    meta = artefact.read_meta(adapter)
    wanted, views = classes or meta.classes, training["views"]
    opened, note = artefact.open_for(meta, data, **reading)
    if note:
        say(note)
    samples: list[Sample] = opened
    samples = regions(samples, wanted) if meta.inference.regions else samples
    train, held_out = parts(samples, wanted, adapter, data, training["negatives"])
    base, store = load_on(meta.base.name, device), EmbeddingCache()
    fitted = artefact.load(adapter, base)  # reports a damaged adapter or another base before training starts
    beside = fitted.segmenter.companion
    if companion is not None:
        beside = load_companion(companion, next(base.model.parameters()).device)
    tiles, augment = plan_tiles(train, wanted, base, views=views, tiles=training["tiles"])
    _encode(base, store, train, held_out, augment, views, () if beside is None else (beside,))
    how = prompt_type or automatic.prompt_type_of(meta.inference.prompt)
    with counting("Training proposals") as progress:
        proposals = fit_proposals(
            base, train, wanted, store, seed=training["seed"], steps=training["steps"], augment=augment, give=how,
            tiles=tiles, companion=beside, progress=progress,
        )  # fmt: skip
    if held_out:
        proposals.figures["held_out"] = evaluate_proposals(proposals, base, held_out, store)
    with locked(adapter, "proposals"):
        proposals.save(adapter)
    split = adapter / artefact.SPLIT
    judging = set(Split.read(split).val) if held_out and split.is_file() else set()  # test images choose nothing
    gate = gate_instances(base, adapter, [one for one in held_out if one.id in judging], wanted, store)
    where = "held_out" if held_out else "cross_fitted"
    scores = proposals.figures.get(where)
    by_class = scores if isinstance(scores, dict) else {}
    _print(by_class, len(train), "held-out images" if held_out else "cross-fitting")
    counted_objects = count_sentence(artefact.read_meta(adapter).figures)
    for sentence in () if gate is None else [*sentences(Gate((gate,)), {}), *counted_objects]:
        say(sentence)
    tiling = "" if tiles == 1 else f", {tiles} x {tiles} tiles"
    say(f"The proposals ({proposals.parameters:,} parameters, {how}{tiling}) are in {adapter}.")
    return proposals.figures


def _encode(
    base: Base,
    store: EmbeddingCache,
    train: list[Sample],
    held_out: list[Sample],
    augment: Augment,
    views: int,
    companions: Sequence[Companion],
) -> None:
    """Encode all views of the training images, and the held-out images."""
    from samtailor.cli.progress import counting
    from samtailor.data.augment import UNTOUCHED

    pairs = [(sample, augment.draw(sample, index)) for sample in train for index in range(views)]
    pairs += [(sample, UNTOUCHED) for sample in held_out]
    with counting("Encoding images") as progress:
        samples, shown = [sample for sample, _ in pairs], [view for _, view in pairs]
        store.prepare(base, samples, shown, companions, progress=progress)


def _print(figures: dict[str, Any], images: int, where: str) -> None:
    from samtailor.cli.screen import percent, table

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
    head = ["", "recall (points)", "recall (boxes)", "precision", "false-positive rate"]
    head += ["objects / images / without objects"]
    table(f"{images} training images, evaluated by {where}", head, rows, _NOTE)


_NOTE = (
    "Percent. Points: the point lies on an object, each object counts once. Boxes: IoU of at least 0.5. "
    "False-positive rate: fraction of the images without an object in which something is proposed."
)
