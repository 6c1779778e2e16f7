"""`samtailor demo`: fit and evaluate on photographs and on synthetic images, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samtailor.cli import options
from samtailor.registry import BUNDLED_BASE


def demo_command(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of images, adapters and report.")] = Path("demo"),
    only: Annotated[
        str | None, typer.Option(metavar="leaves|banners", help="Run only this part; default: both.")
    ] = None,
    seed: options.Seed = 0,
    base: options.Base = BUNDLED_BASE,
    steps: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Training steps, of leaves at most; default for banners: 600."),
    ] = None,
    train: Annotated[
        int | None, typer.Option(min=8, metavar="N", help="Number of images of banners to fit to.")
    ] = None,
    test: Annotated[int | None, typer.Option(min=2, metavar="N", help="Number of test images of banners.")] = None,
    device: options.Device = None,
    workers: options.Workers = None,
) -> None:
    """Fit adapters of the bundled base model, compare them with it, and write an HTML report.

    Leaves: photographs of coffee leaves, eight of them labeled; the adapters need no click. Banners: drawn images, the
    methods of the paper, one click for each banner.

    Takes minutes on two cores and needs no network. Started again it continues where it was stopped.
    """
    from samtailor.cli.demo_run import demo
    from samtailor.cli.progress import watching
    from samtailor.cli.screen import results, say, summaries, table

    given = {key: value for key, value in (("train", train), ("test", test)) if value is not None}
    with watching() as watch:
        made = demo(
            out,
            base=base,
            only=only,
            seed=seed,
            steps=steps,
            device=device,
            workers=options.workers(workers),
            watch=watch,
            **given,
        )
    if "leaves" in made.figures:
        from samtailor.cli import demo_leaves

        table("Coffee leaves", *demo_leaves.table(made.figures["leaves"]))
    if "banners" in made.figures:
        methods = made.figures["banners"]["methods"]
        images = next(iter(methods.values()))["images"]
        summaries("Outdoor banners", methods, f"Percent, {images} test images, one click for each banner, seed {seed}.")
    results().print(f"The report is {made.page}.", soft_wrap=True)
    if "leaves" in made.figures:
        say(f"The leaves before and after are in {out / 'leaves.jpg'}.")
        say(f"Next: samtailor label {out}/leaves/images --adapter lesion={out}/adapters/lesion --out {out}/labels")
