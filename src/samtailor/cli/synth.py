"""`samtailor synth banners|scenes`: draw synthetic data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samtailor.cli import options
from samtailor.cli.group import Group
from samtailor.errors import InputError, counted

app = typer.Typer(cls=Group, help="Draw a synthetic data set from a seed.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(metavar="DIR", help="New folder for the data set (COCO format).")]
Count = Annotated[int, typer.Option(min=1, metavar="N", help="Number of training images.")]
Test = Annotated[int, typer.Option(min=0, metavar="N", help="Number of test images, from disjoint sources.")]
Size = Annotated[str | None, typer.Option(metavar="WxH", help="Width and height of the images, in pixels.")]


@app.command("banners")
def banners_command(
    out: Out,
    count: Count = 200,
    test: Test = 0,
    seed: options.Seed = 0,
    size: Size = None,
    banners: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of banner images to use.")] = None,
    backgrounds: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of background images to use.")] = None,
) -> None:
    """Outdoor banners in street scenes (Kim et al., section 5.3), procedural or from given images."""
    _make(out, "banners", count, test, seed, size, banners, backgrounds)


@app.command("scenes")
def scenes_command(out: Out, count: Count = 200, test: Test = 0, seed: options.Seed = 0, size: Size = None) -> None:
    """Scenes of objects with parts, like those that the bundled base model was trained on (square images)."""
    _make(out, "scenes", count, test, seed, size)


def _make(
    out: Path,
    kind: str,
    count: int,
    test: int,
    seed: int,
    size: str | None,
    banners: Path | None = None,
    backgrounds: Path | None = None,
) -> None:
    from samtailor.cli.progress import counting
    from samtailor.cli.screen import say
    from samtailor.data.synth.write import build_dataset

    with counting(f"Drawing {kind}") as progress:
        about = build_dataset(
            out, kind=kind, count=count, test=test, seed=seed, size=_size(size), banners=banners,
            backgrounds=backgrounds, progress=progress,
        )  # fmt: skip
    masks = sum(sum(side.values()) for side in about["masks"].values())
    images = counted(sum(about["images"].values()), "image")
    say(f"{out}: {images} with {counted(masks, 'mask')}.")


def _size(text: str | None) -> tuple[int, int] | None:
    """ "640x480" to (480, 640)."""
    if text is None:
        return None
    width, cross, height = text.lower().partition("x")
    if not cross or not width.isdecimal() or not height.isdecimal():
        raise InputError(f"--size must be WIDTHxHEIGHT in pixels, for example 640x480; got {text!r}.")
    return int(height), int(width)
