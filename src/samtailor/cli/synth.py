"""`samtailor synth banners|scenes`: data sets from a seed, nothing downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samtailor.cli import options
from samtailor.cli.group import Group
from samtailor.errors import InputError, counted

app = typer.Typer(cls=Group, help="Make a synthetic data set from a seed.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(metavar="DIR", help="New folder for the data set (COCO layout).")]
Count = Annotated[int, typer.Option(min=1, metavar="N", help="Images to train on.")]
Test = Annotated[int, typer.Option(min=0, metavar="N", help="Test images beside them, with nothing in common.")]
Size = Annotated[str | None, typer.Option(metavar="WxH", help="Width and height of an image in px.")]


@app.command("banners")
def banners_command(
    out: Out,
    count: Count = 200,
    test: Test = 0,
    seed: options.Seed = 0,
    size: Size = None,
    banners: Annotated[Path | None, typer.Option(metavar="DIR", help="Your own banner images.")] = None,
    backgrounds: Annotated[Path | None, typer.Option(metavar="DIR", help="Your own backgrounds.")] = None,
) -> None:
    """Outdoor banners hung into streets (Kim et al., section 5.3), procedural or from your own images."""
    _make(out, "banners", count, test, seed, size, banners=banners, backgrounds=backgrounds)


@app.command("scenes")
def scenes_command(out: Out, count: Count = 200, test: Test = 0, seed: options.Seed = 0, size: Size = None) -> None:
    """Scenes of things with parts, as the bundled base saw in training (square images)."""
    _make(out, "scenes", count, test, seed, size)


def _make(out: Path, kind: str, count: int, test: int, seed: int, size: str | None, **own: Path | None) -> None:
    from samtailor.cli.screen import counting, say
    from samtailor.data.synth.write import build_dataset

    with counting(f"drawing {kind}") as progress:
        about = build_dataset(
            out, kind=kind, count=count, test=test, seed=seed, size=_size(size), progress=progress, **own
        )
    masks = sum(sum(side.values()) for side in about["masks"].values())
    images = counted(sum(about["images"].values()), "image")
    say(f"{out}: {images} with {counted(masks, 'mask')}.")


def _size(text: str | None) -> tuple[int, int] | None:
    """ "640x480" to (480, 640)."""
    if text is None:
        return None
    width, cross, height = text.lower().partition("x")
    if not cross or not width.isdecimal() or not height.isdecimal():
        raise InputError(f"--size is WIDTHxHEIGHT in pixels such as 640x480, got {text!r}.")
    return int(height), int(width)
