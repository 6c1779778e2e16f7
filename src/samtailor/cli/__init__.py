"""The command line: `samtailor`, one file for each command.

Heavy libraries are imported when a command runs, so that `samtailor --help` takes a fraction of a second.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Annotated

import typer

from samtailor import __version__
from samtailor.cli.group import Command, Group
from samtailor.limits import trust

COMMANDS = (
    *("ui", "fit", "evaluate", "predict", "propose-fit", "label", "find", "export", "serve", "label-studio"),
    *("iou-map", "check", "info", "verify", "compare", "recipe", "figures", "bench", "demo"),
)

app = typer.Typer(
    name="samtailor",
    cls=Group,
    help="Fit a frozen Segment Anything model to your own objects from a few masks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"samtailor {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    trust_weights: Annotated[
        list[str] | None,
        typer.Option(
            "--trust-weights",
            metavar="FILE",
            help="Detector weights that an adapter or a configuration names and that may run code when they are "
            "opened (.pt files of ultralytics). Only for files whose origin you know.",
        ),
    ] = None,
) -> None:
    for file in trust_weights or ():
        trust(file)


for _name in COMMANDS:
    _module = importlib.import_module(f"samtailor.cli.{_name.replace('-', '_')}")
    _short = (_module.__doc__ or "").partition(": ")[2].split("\n")[0]
    app.command(_name, cls=Command, short_help=_short[:1].upper() + _short[1:])(
        getattr(_module, f"{_name.replace('-', '_')}_command")
    )
for _name in ("batch", "synth"):
    app.add_typer(importlib.import_module(f"samtailor.cli.{_name}").app, name=_name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 success, 2 wrong input (one message), 130 stopped with Ctrl-C."""
    app(list(arguments) if arguments is not None else None)
