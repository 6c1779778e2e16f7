"""`samtailor batch`: label, search, embed and evaluate any number of images, with processes or a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.cli.find import NegativeReferences, References, reference_parts
from samtailor.cli.group import Command
from samtailor.cli.group import Group as Commands
from samtailor.errors import InputError, counted

if TYPE_CHECKING:
    from samtailor.distributed.api import Machines
    from samtailor.distributed.run import Sizes, Summary

app = typer.Typer(
    cls=Commands,
    help="Label, search, embed and evaluate any number of images, with processes or a Ray cluster.",
    no_args_is_help=True,
)

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGES...",
        help="Image files, folders, patterns ('photos/**/*.jpg'), Parquet lists (columns uri and id), and addresses of "
        "object stores (s3://bucket/folder). Credentials are those of the environment.",
    ),
]
Out = Annotated[str, typer.Option(metavar="DIR", help="Folder or address of the result; a stopped run continues.")]
Engine = Annotated[
    str, typer.Option(metavar="ray|processes", help="Where workers run: a Ray cluster, or processes of this machine.")
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Ray cluster: ray://HOST:10001, HOST:6379 or auto. Default: one on this machine."
    ),
]
Workers = Annotated[
    str | None,
    typer.Option(
        metavar="N|MIN:MAX",
        help="Workers, with one model each; Ray adapts the number between MIN and MAX. Default: cores, at most 4.",
    ),
]
Cpus = Annotated[float, typer.Option(min=0.0, metavar="N", help="CPUs of a worker, as Ray counts them.")]
Gpus = Annotated[float, typer.Option(min=0.0, metavar="N", help="GPUs of a worker; may be a fraction.")]
Readers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Tasks that read images (ray). Default: as CPUs are free.")
]
Block = Annotated[int, typer.Option(min=1, metavar="N", help="Images of a Parquet file.")]
Group = Annotated[int, typer.Option(min=1, metavar="N", help="Images that a worker processes in one call.")]
Timeout = Annotated[float, typer.Option(min=0.1, metavar="S", help="Seconds for an image before its worker is ended.")]
Tries = Annotated[int, typer.Option(min=1, metavar="N", help="Tries of an image alone before it is listed as failed.")]
Part = Annotated[
    str, typer.Option(metavar="I/N", help="Only the I-th of N parts of the images, for several commands at once.")
]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Try again what an earlier run listed as failed.")]


@app.command("label", cls=Command)
def label_command(
    images: Sources,
    out: Out,
    adapter: options.Adapters = None,
    base: options.AdapterBase = None,
    detector: options.Detector = None,
    detector_classes: options.DetectorClasses = None,
    threshold: options.Threshold = None,
    prompt_type: options.PromptType = None,
    refine: Annotated[bool, typer.Option("--refine", help="Refine outlines with the PMM of plm-pmm adapters.")] = False,
    tile: options.TileSide = None,
    overlap: options.TileOverlap = 0.25,
    engine: Engine = "ray",
    address: Address = None,
    workers: Workers = None,
    cpus: Cpus = 1.0,
    gpus: Gpus = 0.0,
    readers: Readers = None,
    block: Block = 256,
    group: Group = 8,
    timeout: Timeout = 120.0,
    tries: Tries = 2,
    part: Part = "1/1",
    device: options.Device = None,
    max_pixels: options.MaxPixels = None,
    retry_failed: Retry = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Label images without prompts into Parquet files: one row for each object, one for each image.

    Every image is in the result once. Run the same command again to continue after a stop, or with more images. Images
    that cannot be read or that break workers are listed at the end (exit code 1).
    """
    from samtailor.distributed import api

    machines = _machines(engine, address, workers, cpus, gpus, readers, timeout, max_pixels)
    with _counting("Labeling images") as progress:
        summary = api.label(
            images, options.adapters_by_name(adapter or []), out, machines, base=base, detector=detector,
            detector_classes=options.names(detector_classes), threshold=threshold, prompt_type=prompt_type,
            refine=refine, tile=tile, overlap=overlap, device=device, progress=progress, overwrite=overwrite,
            retry_failed=retry_failed, sizes=_sizes(block, group, tries, part),
        )  # fmt: skip
    _print(summary, out, "object")


@app.command("find", cls=Command)
def find_command(
    images: Sources,
    out: Out,
    like: References = None,
    not_like: NegativeReferences = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Class of what is found.")] = "object",
    base: Annotated[str, typer.Option(metavar="BASE", help="Base model, as in samtailor fit.")] = "lite",
    matcher: Annotated[str, typer.Option(metavar="NAME", help="How objects are found: {matchers}.")] = "multiscale",
    matcher_option: Annotated[
        list[str] | None, typer.Option("--matcher-option", metavar="KEY=VALUE", help="Option of the matcher.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="T", help="Minimum score; default: chosen on the references.")
    ] = None,
    tile: options.TileSide = None,
    overlap: options.TileOverlap = 0.25,
    engine: Engine = "ray",
    address: Address = None,
    workers: Workers = None,
    cpus: Cpus = 1.0,
    gpus: Gpus = 0.0,
    readers: Readers = None,
    block: Block = 256,
    group: Group = 8,
    timeout: Timeout = 120.0,
    tries: Tries = 2,
    part: Part = "1/1",
    device: options.Device = None,
    max_pixels: options.MaxPixels = None,
    retry_failed: Retry = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Find objects like those of a few references, into Parquet files. Otherwise as samtailor batch label."""
    from samtailor.distributed import api

    if not like:
        raise InputError("There is no reference of what to find. Give at least one --like PHOTO MARK.")
    machines = _machines(engine, address, workers, cpus, gpus, readers, timeout, max_pixels)
    with _counting("Finding objects") as progress:
        summary = api.find(
            images, [reference_parts(pair) for pair in like], out, machines,
            not_like=[reference_parts(pair, whole=True) for pair in not_like or ()], name=name, base=base,
            matcher=matcher, matcher_options=options.settings(matcher_option or []), threshold=threshold, tile=tile,
            overlap=overlap, device=device, progress=progress, overwrite=overwrite, retry_failed=retry_failed,
            sizes=_sizes(block, group, tries, part),
        )  # fmt: skip
    _print(summary, out, "object")


@app.command("embed", cls=Command)
def embed_command(
    images: Sources,
    out: Out,
    base: Annotated[str, typer.Option(metavar="BASE", help="Base model, as in samtailor fit.")] = "lite",
    engine: Engine = "ray",
    address: Address = None,
    workers: Workers = None,
    cpus: Cpus = 1.0,
    gpus: Gpus = 0.0,
    readers: Readers = None,
    block: Block = 256,
    group: Group = 8,
    timeout: Timeout = 120.0,
    tries: Tries = 2,
    part: Part = "1/1",
    device: options.Device = None,
    max_pixels: options.MaxPixels = None,
    retry_failed: Retry = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Write one vector for each image, the mean of its embedding, into Parquet files. Whole embeddings are not stored.

    Otherwise as samtailor batch label.
    """
    from samtailor.distributed import api

    machines = _machines(engine, address, workers, cpus, gpus, readers, timeout, max_pixels)
    with _counting("Embedding images") as progress:
        summary = api.embed(
            images, out, machines, base=base, device=device, progress=progress, overwrite=overwrite,
            retry_failed=retry_failed, sizes=_sizes(block, group, tries, part),
        )  # fmt: skip
    _print(summary, out, "vector")


@app.command("evaluate", cls=Command)
def evaluate_command(
    data: options.Data,
    out: Out,
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
    engine: Engine = "ray",
    address: Address = None,
    workers: Workers = None,
    cpus: Cpus = 1.0,
    gpus: Gpus = 0.0,
    block: Block = 256,
    group: Group = 8,
    timeout: Timeout = 120.0,
    tries: Tries = 2,
    device: options.Device = None,
    retry_failed: Retry = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Evaluate an adapter and its base model, one prompt for each mask, into Parquet files with one row for each mask.

    The scores are those of samtailor evaluate. All workers must be able to read DATA at the same place.
    """
    from samtailor.cli.screen import percent, say, summaries
    from samtailor.distributed.evaluations import evaluate
    from samtailor.evaluation.api import AUTO
    from samtailor.evaluation.scores import difference

    if prompt == AUTO:
        raise InputError("samtailor batch evaluate uses one prompt for each mask. For --prompt auto use evaluate.")
    machines = _machines(engine, address, workers, cpus, gpus, None, timeout, None)
    with _counting("Evaluating images") as progress:
        summary, evaluations = evaluate(
            str(data), adapter, out, machines, base=base, classes=options.names(classes), prompt=prompt, split=split,
            include_train=include_train, limit=limit, seed=seed, format=format, group=group_rule,
            data_options=options.data_options(setting), device=device, progress=progress, overwrite=overwrite,
            retry_failed=retry_failed, sizes=_sizes(block, group, tries, "1/1"),
        )  # fmt: skip
    note = f"Percent. Prompt: {evaluations['base'].prompt}, one for each mask. Intervals: bootstrap over groups."
    summaries(str(data), {name: one.summary() for name, one in evaluations.items()}, note)
    if "adapter" in evaluations:
        change = difference(evaluations["adapter"], evaluations["base"])
        points = percent(change["miou"], change["miou_interval"], signed=True)
        say(f"adapter minus base, paired: mIoU {points} points.")
    _print(summary, out, "row")


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


def _machines(
    engine: str, address: str | None, workers: str | None, cpus: float, gpus: float, readers: int | None,
    timeout: float, max_pixels: int | None,
) -> Machines:  # fmt: skip
    from samtailor.distributed.api import Machines
    from samtailor.distributed.engines.ray_data import Resources

    options.allow_pixels(max_pixels)
    if address is not None and engine != "ray":
        raise InputError("--address is the address of a Ray cluster; it needs --engine ray.")
    resources = Resources(address, _range(workers), cpus, gpus, readers)
    return Machines(engine, resources, timeout, max_pixels)


def _range(text: str | None) -> tuple[int, int]:
    """ "4" to (4, 4), "2:8" to (2, 8)."""
    if text is None:
        return (options.workers(None), options.workers(None))
    few, _, many = text.partition(":")
    if not few.isdecimal() or not (many or few).isdecimal() or not 1 <= int(few) <= int(many or few):
        raise InputError(f"--workers must be N or MIN:MAX with 1 <= MIN <= MAX, for example 2:8; got {text!r}.")
    return int(few), int(many or few)


def _sizes(block: int, group: int, tries: int, part: str) -> Sizes:
    from samtailor.distributed.run import Sizes

    index, _, number = part.partition("/")
    if not index.isdecimal() or not number.isdecimal():
        raise InputError(f"--part must be I/N, for example 1/4; got {part!r}.")
    return Sizes(block, group, tries, (int(index), int(number)))


def _counting(task: str) -> Any:
    from samtailor.cli.progress import counting

    return counting(task)


def _print(summary: Summary, out: str, noun: str) -> None:
    """Print numbers, rate, and what was not processed."""
    from samtailor.cli.screen import say

    earlier = f" ({summary.earlier} from an earlier run)" if summary.earlier else ""
    rate = f", {summary.rate:.1f} images/s" if summary.images > summary.earlier else ""
    say(f"{counted(summary.images, 'image')}{earlier} with {counted(summary.rows, noun)} in {out}{rate}.")
    bad = sum(number for status, number in summary.status.items() if status != "done")
    if bad:
        shown = summary.not_processed[:20]
        say(f"{counted(bad, 'image')} could not be processed:")
        for row in shown:
            say(f"  {row['image']} ({row['status']}): {row['error']}")
        if bad > len(shown):
            say(f"  and {bad - len(shown)} more, see the table images.")
        raise typer.Exit(1)
