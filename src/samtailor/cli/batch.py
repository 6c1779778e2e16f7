"""`samtailor batch`: label, search, embed and evaluate any number of images, with processes or a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samtailor.cli import batch_options as batch
from samtailor.cli import options
from samtailor.cli.find import (
    FoundClass,
    MatcherName,
    MatcherOptions,
    MinimumScore,
    NegativeReferences,
    References,
    reference_groups,
)
from samtailor.cli.group import Command
from samtailor.cli.group import Group as Commands
from samtailor.errors import InputError, counted

app = typer.Typer(
    cls=Commands,
    help="Label, search, embed and evaluate any number of images, with processes or a Ray cluster.",
    no_args_is_help=True,
)


@app.command("label", cls=Command)
def label_command(
    images: batch.Sources,
    out: batch.Out,
    adapter: options.Adapters = None,
    base: options.AdapterBase = None,
    detector: options.Detector = None,
    detector_classes: options.DetectorClasses = None,
    threshold: options.Threshold = None,
    prompt_type: options.PromptType = None,
    refine: options.Refine = False,
    tile: options.TileSide = None,
    overlap: options.TileOverlap = 0.25,
    engine: batch.Engine = "ray",
    address: batch.Address = None,
    workers: batch.Workers = None,
    cpus: batch.Cpus = 1.0,
    gpus: batch.Gpus = 0.0,
    readers: batch.Readers = None,
    block: batch.Block = 256,
    group: batch.Group = 8,
    timeout: batch.Timeout = 120.0,
    tries: batch.Tries = 2,
    part: batch.Part = "1/1",
    price_per_hour: batch.PricePerHour = None,
    device: options.Device = None,
    max_pixels: options.MaxPixels = None,
    retry_failed: batch.Retry = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Label images without prompts into Parquet files: one row for each object, one for each image.

    Every image is in the result once. Run the same command again to continue after a stop, or with more images. Images
    that cannot be read or that break workers are listed at the end (exit code 1).
    """
    from samtailor.cli.batch_progress import metered
    from samtailor.distributed import api

    machines = batch.machines(engine, address, workers, cpus, gpus, readers, timeout, max_pixels, price_per_hour)
    with metered("Labeling images", machines.price) as progress:
        summary = api.label(
            images, options.adapters_by_name(adapter or []), out, machines, base=base, detector=detector,
            detector_classes=options.names(detector_classes), threshold=threshold, prompt_type=prompt_type,
            refine=refine, tile=tile, overlap=overlap, device=device, progress=progress, overwrite=overwrite,
            retry_failed=retry_failed, sizes=batch.sizes(block, group, tries, part),
        )  # fmt: skip
    batch.print_summary(summary, out, "object")


@app.command("find", cls=Command)
def find_command(
    images: batch.Sources,
    out: batch.Out,
    like: References = None,
    not_like: NegativeReferences = None,
    name: FoundClass = "object",
    base: Annotated[str, typer.Option(metavar="BASE", help="Base model, as in samtailor fit.")] = "lite",
    matcher: MatcherName = "multiscale",
    matcher_option: MatcherOptions = None,
    threshold: MinimumScore = None,
    tile: options.TileSide = None,
    overlap: options.TileOverlap = 0.25,
    engine: batch.Engine = "ray",
    address: batch.Address = None,
    workers: batch.Workers = None,
    cpus: batch.Cpus = 1.0,
    gpus: batch.Gpus = 0.0,
    readers: batch.Readers = None,
    block: batch.Block = 256,
    group: batch.Group = 8,
    timeout: batch.Timeout = 120.0,
    tries: batch.Tries = 2,
    part: batch.Part = "1/1",
    price_per_hour: batch.PricePerHour = None,
    device: options.Device = None,
    max_pixels: options.MaxPixels = None,
    retry_failed: batch.Retry = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Find objects like those of a few references, into Parquet files. Otherwise as samtailor batch label."""
    from samtailor.cli.batch_progress import metered
    from samtailor.distributed import api

    shown, hidden = reference_groups(like, not_like)
    machines = batch.machines(engine, address, workers, cpus, gpus, readers, timeout, max_pixels, price_per_hour)
    with metered("Finding objects", machines.price) as progress:
        summary = api.find(
            images, shown, out, machines, not_like=hidden, name=name, base=base, matcher=matcher,
            matcher_options=options.settings(matcher_option or []), threshold=threshold, tile=tile, overlap=overlap,
            device=device, progress=progress, overwrite=overwrite, retry_failed=retry_failed,
            sizes=batch.sizes(block, group, tries, part),
        )  # fmt: skip
    batch.print_summary(summary, out, "object")


@app.command("embed", cls=Command)
def embed_command(
    images: batch.Sources,
    out: batch.Out,
    base: Annotated[str, typer.Option(metavar="BASE", help="Base model, as in samtailor fit.")] = "lite",
    engine: batch.Engine = "ray",
    address: batch.Address = None,
    workers: batch.Workers = None,
    cpus: batch.Cpus = 1.0,
    gpus: batch.Gpus = 0.0,
    readers: batch.Readers = None,
    block: batch.Block = 256,
    group: batch.Group = 8,
    timeout: batch.Timeout = 120.0,
    tries: batch.Tries = 2,
    part: batch.Part = "1/1",
    price_per_hour: batch.PricePerHour = None,
    device: options.Device = None,
    max_pixels: options.MaxPixels = None,
    retry_failed: batch.Retry = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Write one vector for each image, the mean of its embedding, into Parquet files. Whole embeddings are not stored.

    Otherwise as samtailor batch label.
    """
    from samtailor.cli.batch_progress import metered
    from samtailor.distributed import api

    machines = batch.machines(engine, address, workers, cpus, gpus, readers, timeout, max_pixels, price_per_hour)
    with metered("Embedding images", machines.price) as progress:
        summary = api.embed(
            images, out, machines, base=base, device=device, progress=progress, overwrite=overwrite,
            retry_failed=retry_failed, sizes=batch.sizes(block, group, tries, part),
        )  # fmt: skip
    batch.print_summary(summary, out, "vector")


@app.command("evaluate", cls=Command)
def evaluate_command(
    data: options.Data,
    out: batch.Out,
    adapter: options.Adapter = None,
    base: options.AdapterBase = None,
    classes: options.Classes = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="NAME", help="Prompt source, as in samtailor evaluate; not auto.")
    ] = None,
    include_train: Annotated[
        bool, typer.Option("--include-train", help="Also use the images that the adapter was fitted on.")
    ] = False,
    split: Annotated[str | None, typer.Option(metavar="val|test|all", help="As in samtailor evaluate.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Use only the first N images.")] = None,
    seed: options.Seed = 0,
    format: options.Format = None,
    group_rule: options.GroupRule = None,
    setting: options.DataSetting = None,
    engine: batch.Engine = "ray",
    address: batch.Address = None,
    workers: batch.Workers = None,
    cpus: batch.Cpus = 1.0,
    gpus: batch.Gpus = 0.0,
    block: batch.Block = 256,
    group: batch.Group = 8,
    timeout: batch.Timeout = 120.0,
    tries: batch.Tries = 2,
    price_per_hour: batch.PricePerHour = None,
    device: options.Device = None,
    retry_failed: batch.Retry = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Evaluate an adapter and its base model, one prompt for each mask, into Parquet files with one row for each mask.

    The scores are those of samtailor evaluate, up to the rounding of its cached embeddings. All workers must be able to
    read DATA at the same place.
    """
    from samtailor.cli.batch_progress import metered
    from samtailor.cli.screen import percent, say, summaries
    from samtailor.distributed.evaluations import evaluate
    from samtailor.evaluation.api import AUTO
    from samtailor.evaluation.scores import difference

    if prompt == AUTO:
        raise InputError("samtailor batch evaluate uses one prompt for each mask. For --prompt auto use evaluate.")
    machines = batch.machines(engine, address, workers, cpus, gpus, None, timeout, None, price_per_hour)
    with metered("Evaluating images", machines.price) as progress:
        summary, evaluations = evaluate(
            str(data), adapter, out, machines, base=base, classes=options.names(classes), prompt=prompt, split=split,
            include_train=include_train, limit=limit, seed=seed, format=format, group=group_rule,
            data_options=options.data_options(setting), device=device, progress=progress, overwrite=overwrite,
            retry_failed=retry_failed, sizes=batch.sizes(block, group, tries, "1/1"),
        )  # fmt: skip
    note = f"Percent. Prompt: {evaluations['base'].prompt}, one for each mask. Intervals: bootstrap over groups."
    summaries(str(data), {name: one.summary() for name, one in evaluations.items()}, note)
    if "adapter" in evaluations:
        change = difference(evaluations["adapter"], evaluations["base"])
        points = percent(change["miou"], change["miou_interval"], signed=True)
        say(f"adapter minus base, paired: mIoU {points} points.")
    batch.print_summary(summary, out, "row")


@app.command("write", cls=Command)
def write_command(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Result of samtailor batch label or find.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the data set; new.")],
    format: Annotated[str, typer.Option(metavar="NAME", help="Output format: {writers}.")] = "coco",
    vertices: options.Vertices = None,
    image_files: options.ImageFiles = "copy",
    rle: options.RunLengths = False,
    setting: options.FormatOption = None,
) -> None:
    """Write a result in the format of an annotation tool or data set."""
    from samtailor.cli.screen import say
    from samtailor.distributed.convert import convert

    report = convert(
        folder, out, format, vertices=vertices, put=image_files, options=options.format_options(rle, setting)
    )
    say(f"{out}: {counted(report.images, 'image')} with {counted(report.written, 'object')} in the format {format}.")
    for sentence in report.sentences():
        say(sentence)
