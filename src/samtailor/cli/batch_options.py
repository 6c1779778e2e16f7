"""Options of the commands of `samtailor batch`, and what they have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from samtailor.cli import options
from samtailor.errors import InputError, counted

if TYPE_CHECKING:
    from samtailor.distributed.api import Machines
    from samtailor.distributed.run import Sizes, Summary

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
        metavar="ADDRESS", help="Ray cluster: auto on one of its machines, or HOST:6379. Default: one on this machine."
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

PricePerHour = Annotated[
    float | None,
    typer.Option(min=0.0, metavar="X", help="Price of a worker for an hour, in any currency: show the cost."),
]


def machines(
    engine: str, address: str | None, workers: str | None, cpus: float, gpus: float, readers: int | None,
    timeout: float, max_pixels: int | None, price: float | None = None,
) -> Machines:  # fmt: skip
    """Where workers run, from the options."""
    from samtailor.distributed.api import Machines
    from samtailor.distributed.engines.cluster import Resources

    options.allow_pixels(max_pixels)
    if address is not None and engine != "ray":
        raise InputError("--address is the address of a Ray cluster; it needs --engine ray.")
    resources = Resources(address, _range(workers), cpus, gpus, readers)
    return Machines(engine, resources, timeout, max_pixels, price)


def _range(text: str | None) -> tuple[int, int]:
    """ "4" to (4, 4), "2:8" to (2, 8)."""
    if text is None:
        return (options.workers(None), options.workers(None))
    few, _, many = text.partition(":")
    if not few.isdecimal() or not (many or few).isdecimal() or not 1 <= int(few) <= int(many or few):
        raise InputError(f"--workers must be N or MIN:MAX with 1 <= MIN <= MAX, for example 2:8; got {text!r}.")
    return int(few), int(many or few)


def sizes(block: int, group: int, tries: int, part: str) -> Sizes:
    """How images are divided, from the options."""
    from samtailor.distributed.run import Sizes

    index, _, number = part.partition("/")
    if not index.isdecimal() or not number.isdecimal():
        raise InputError(f"--part must be I/N, for example 1/4; got {part!r}.")
    return Sizes(block, group, tries, (int(index), int(number)))


def print_summary(summary: Summary, out: str, noun: str) -> None:
    """Print numbers, rate, and what was not processed."""
    from samtailor.cli.screen import say
    from samtailor.distributed.cost import amount

    earlier = f" ({summary.earlier} from an earlier run)" if summary.earlier else ""
    rate = f", {summary.rate:.1f} images/s" if summary.images > summary.earlier else ""
    cost = "" if summary.cost is None else f", cost {amount(summary.cost)}"
    say(f"{counted(summary.images, 'image')}{earlier} with {counted(summary.rows, noun)} in {out}{rate}{cost}.")
    bad = sum(number for status, number in summary.status.items() if status != "done")
    if bad:
        shown = summary.not_processed[:20]
        say(f"{counted(bad, 'image')} could not be processed:")
        for row in shown:
            say(f"  {row['image']} ({row['status']}): {row['error']}")
        if bad > len(shown):
            say(f"  and {bad - len(shown)} more, see the table images.")
        raise typer.Exit(1)
