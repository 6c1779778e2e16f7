"""`samtailor demo`: fit and evaluate on synthetic images, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samtailor.cli import options
from samtailor.registry import BUNDLED_BASE


def demo_command(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of images, adapters and report.")] = Path("demo"),
    seed: options.Seed = 0,
    base: options.Base = BUNDLED_BASE,
    steps: Annotated[int | None, typer.Option(min=1, metavar="N", help="Training steps of PLM and PLM+PMM.")] = None,
    train: Annotated[int | None, typer.Option(min=8, metavar="N", help="Number of training images.")] = None,
    test: Annotated[int | None, typer.Option(min=2, metavar="N", help="Number of test images.")] = None,
    device: options.Device = None,
    workers: options.Workers = None,
) -> None:
    """Draw synthetic banners, fit adapters of the bundled base model, and compare them with it in an HTML report.

    Takes minutes on two cores and needs no network. Started again it continues where it was stopped.
    """
    from samtailor.cli.demo_fits import demo
    from samtailor.cli.progress import watching
    from samtailor.cli.screen import results, summaries

    given = {key: value for key, value in (("steps", steps), ("train", train), ("test", test)) if value is not None}
    with watching() as watch:
        made = demo(out, base=base, seed=seed, device=device, workers=options.workers(workers), watch=watch, **given)
    methods = made.figures["methods"]
    images = next(iter(methods.values()))["images"]
    summaries("Outdoor banners", methods, f"Percent, {images} test images, one click for each banner, seed {seed}.")
    results().print(f"The report is {made.page}.", soft_wrap=True)
