"""`samtailor demo`: the main job in small, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samtailor.cli import options
from samtailor.cli.compare import watching


def demo_command(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of images, adapters and report.")] = Path("demo"),
    seed: options.Seed = 0,
    base: options.Base = "nano",
    steps: Annotated[int | None, typer.Option(min=1, metavar="N", help="Updates of PLM and of PLM+PMM.")] = None,
    train: Annotated[int | None, typer.Option(min=8, metavar="N", help="Images to fit on.")] = None,
    test: Annotated[int | None, typer.Option(min=2, metavar="N", help="Images to evaluate on.")] = None,
    device: options.Device = None,
    workers: options.Workers = None,
) -> None:
    """Synthetic banners from a seed, fits on the bundled base, one table before and after, an HTML report.

    Minutes on two cores, no network. Started again it goes on where it was stopped.
    """
    from samtailor.cli._demo_fits import demo
    from samtailor.cli.screen import results, summaries

    given = {key: value for key, value in (("steps", steps), ("train", train), ("test", test)) if value is not None}
    with watching() as watch:
        made = demo(out, base=base, seed=seed, device=device, workers=options.workers(workers), watch=watch, **given)
    found = made.figures["methods"]
    note = f"Percent, {next(iter(found.values()))['images']} test images, one click a banner, seed {seed}."
    summaries("Outdoor banners", found, note)
    results().print(f"The report is {made.page}.", soft_wrap=True)
