"""`samtailor fit`: fit an adapter to a folder of masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.errors import InputError, counted

if TYPE_CHECKING:
    from samtailor.fitting import FitResult
    from samtailor.train.config import FitConfig


def fit_command(
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="Folder of the data set, in any supported format.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the adapter.")] = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="Method: {methods} (docs/methods.md). Default: tailor.")
    ] = None,
    base: Annotated[str | None, typer.Option(metavar="BASE", help="Base model; default: nano.")] = None,
    classes: options.Classes = None,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Fit one adapter for each class, in OUT/CLASS.")
    ] = False,
    steps: Annotated[int | None, typer.Option(min=0, metavar="N", help="Training steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, metavar="N", help="Masks per batch.")] = None,
    lr: Annotated[float | None, typer.Option(metavar="X", help="Learning rate.")] = None,
    shots: Annotated[int | None, typer.Option(min=1, metavar="K", help="Train on K images of each class.")] = None,
    val: Annotated[
        str | None,
        typer.Option(
            metavar="N|FRACTION",
            help="Held-out images that choose the best state, number or fraction; default: 0.15, none with --shots.",
        ),
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="N|FRACTION", help="Images kept for evaluate, number or fraction.")
    ] = None,
    views: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Augmented views per image; 1: no augmentation.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, metavar="S", help="Random seed.")] = None,
    format: options.Format = None,
    group: options.GroupRule = None,
    precision: Annotated[str | None, typer.Option(metavar="NAME", help="no, fp16 or bf16.")] = None,
    device: options.Device = None,
    config: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="Settings from a YAML file, or a built-in set: paper.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any other setting, e.g. warmup=100 or options.head=paper_plain."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted fit.")] = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Fit an adapter for a frozen base model to the masks of a data set.

    Ctrl-C saves and stops; --resume continues to the same result. The state with the best score on held-out images is
    kept. With --shots there are no held-out images: the last state is kept, or, for two-level methods, the best state
    on the second half of the images.
    """
    import yaml

    given: dict[str, Any] = {
        "data": data,
        "out": out,
        "method": method,
        "base": base,
        "classes": options.names(classes),
        "per_class": per_class or None,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "shots": shots,
        "val": None if val is None else yaml.safe_load(val),
        "test": None if test is None else yaml.safe_load(test),
        "views": views,
        "seed": seed,
        "format": format,
        "group": group,
        "precision": precision,
        "device": device,
    }
    fields = fields_of(config, given, setting or [])
    for name, flag in (("data", "DATA"), ("out", "--out")):
        if fields.get(name) is None:
            raise InputError(f"A fit needs {flag}: samtailor fit DATA --out DIR.")
    from samtailor.cli.progress import fit_progress
    from samtailor.cli.screen import say
    from samtailor.fitting.api import fit

    with fit_progress() as progress:
        result = fit(resume=resume, overwrite=overwrite, progress=progress, **fields)
    for name, part in (result.parts or {"": result}).items():
        say(f"{name}: {_outcome(part)}" if name else _outcome(part))
    say(f"The adapter is in {result.folder}.")


def fields_of(config: str | None, given: Mapping[str, Any], pairs: list[str]) -> dict[str, Any]:
    """Settings of a fit: those of a file or built-in set, then options of the command line, then KEY=VALUE pairs."""
    from samtailor.compare.recipes import fit_settings

    fields: dict[str, Any] = fit_settings(config) if config else {}
    fields |= {key: value for key, value in given.items() if value is not None}
    for key, value in options.settings(pairs).items():
        owner, dot, name = key.partition(".")
        if dot:
            fields[owner] = {**fields.get(owner, {}), name: value}
        else:
            fields[key] = value
    return fields


def settings_of(config: str | None, given: Mapping[str, Any], pairs: list[str]) -> FitConfig:
    """`fields_of`, checked."""
    from samtailor.train.config import load

    return load(None, fields_of(config, given, pairs))


def _outcome(result: FitResult) -> str:
    """Outcome of a fit, a sentence for each part of it."""
    return " ".join(part for part in (_kept(result.figures), _clicks(result.figures), _map(result.figures)) if part)


def _kept(figures: Mapping[str, Any]) -> str:
    if "held_out_miou" not in figures:
        return "No held-out images: the last state was kept."
    where = "Held-out mIoU"
    if figures.get("selection") == "paper":
        where = "mIoU on the half of the images that chose the state (no image was held out)"
    return (
        f"{where}: {100 * figures['held_out_miou']:.1f} after {counted(int(figures['best_step']), 'step')}, "
        f"{100 * figures['start_miou']:.1f} before (best candidate mask: "
        f"{100 * figures['held_out_oracle_miou']:.1f}, {100 * figures['start_oracle_miou']:.1f})."
    )


def _clicks(figures: Mapping[str, Any]) -> str:
    if figures.get("share", 1.0) == 1.0:
        return ""
    return (
        f"Click adapter strength: {figures['share']:g} (0 = base model, 1 = full adapter); on held-out images mIoU "
        f"{100 * figures['share_miou']:.1f}, base model {100 * figures['share_base_miou']:.1f}."
    )


def _map(figures: Mapping[str, Any]) -> str:
    if "region_dice" not in figures:
        return ""
    images = counted(figures["region_images"], "held-out image")
    single = figures["region_dice_one_look"]
    without = "" if single == figures["region_dice"] else f"; {100 * single:.1f} without tiling"
    return f"Automatic mode: Dice {100 * figures['region_dice']:.1f} ({images}){without}."
