"""`samtailor fit`: from a folder of masks to an adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.errors import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from samtailor.fitting import FitResult
    from samtailor.train.progress import Progress


def fit_command(
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="Folder of the data set, in any known layout.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the adapter.")] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="tailor (default), plm, plm-pmm, sam-f, blo-sam, am-sam, samed, med-sa (docs/methods/index.md).",
        ),
    ] = None,
    base: Annotated[str | None, typer.Option(metavar="BASE", help="Base model; default: nano.")] = None,
    classes: options.Classes = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="One adapter a class, in OUT/CLASS.")] = False,
    steps: Annotated[int | None, typer.Option(min=0, metavar="N", help="Updates.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, metavar="N", help="Masks an update.")] = None,
    lr: Annotated[float | None, typer.Option(metavar="X", help="Learning rate.")] = None,
    shots: Annotated[int | None, typer.Option(min=1, metavar="K", help="Use K images of each class only.")] = None,
    val: Annotated[
        str | None,
        typer.Option(metavar="N|SHARE", help="Held-out images, count or share; default 0.15, none with --shots."),
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="N|SHARE", help="Images kept for evaluate.")] = None,
    views: Annotated[int | None, typer.Option(min=1, metavar="N", help="Views an image; 1: no augmentation.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, metavar="S", help="Seed of everything random.")] = None,
    format: options.Format = None,
    group: options.GroupRule = None,
    precision: Annotated[str | None, typer.Option(metavar="NAME", help="no, fp16 or bf16.")] = None,
    device: options.Device = None,
    config: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="Settings from a YAML file, or by name: paper.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any other setting, e.g. warmup=100 or options.head=paper_plain."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a stopped fit was.")] = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Fit an adapter for a frozen base to the masks of a data set.

    Ctrl-C saves and stops; --resume goes on to the same result. The best state on held-out images is kept; with
    --shots, which are all the masks there are, the last one (of two levels the best on the second half).
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
    settled = settings_of(config, given, setting or [])
    from samtailor.cli.screen import say
    from samtailor.fitting import fit

    with fit_progress() as progress:
        result = fit(settled, resume=resume, overwrite=overwrite, progress=progress)
    for name, one in (result.parts or {"": result}).items():
        say(f"{name}: {_outcome(one)}" if name else _outcome(one))
    say(f"The adapter is in {result.folder}.")


def settings_of(config: str | None, given: dict[str, Any], pairs: list[str]) -> Any:
    """A `FitConfig` from a file or recipe, options of the command line on top, and KEY=VALUE pairs above all."""
    from samtailor.compare.recipes import fit_settings
    from samtailor.train.config import load

    fields = fit_settings(config) if config else {}
    fields |= {key: value for key, value in given.items() if value is not None}
    for key, value in options.settings(pairs).items():
        owner, dot, name = key.partition(".")
        if dot:
            fields[owner] = {**fields.get(owner, {}), name: value}
        else:
            fields[key] = value
    return load(None, fields)


@contextmanager
def fit_progress(what: str = "") -> Iterator[Callable[[Progress], None]]:
    """A bar with loss, held-out mIoU, images/s and time left; one for each name that is not finished."""
    from rich.progress import BarColumn, Progress, TextColumn

    from samtailor.cli.screen import errors

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[figures]}"))
    with Progress(*columns, console=errors(), transient=True) as bar:
        opening = bar.add_task(what or "opening", total=None, figures="")
        rows: dict[str | None, Any] = {}

        def show(progress: Progress) -> None:
            bar.update(opening, visible=False)
            name = " ".join(part for part in (what, progress.name, progress.stage) if part)
            finished = {task.id for task in bar.tasks if task.finished}
            for other in [key for key, row in rows.items() if key != progress.name and row in finished]:
                bar.remove_task(rows.pop(other))
            if progress.name not in rows:
                rows[progress.name] = bar.add_task(name, total=None, figures="")
            state = {"description": name, "completed": progress.done, "total": progress.total}
            bar.update(rows[progress.name], figures=_figures(progress), **state)

        yield show


def _outcome(result: FitResult) -> str:
    """What a user wants to know of a finished fit, a sentence each."""
    return " ".join(part for part in (_kept(result), _tempered(result.figures), _looks(result.figures)) if part)


def _kept(result: FitResult) -> str:
    found = result.figures
    if "held_out_miou" not in found:
        return "No held-out images: the last state was kept."
    judged = "Held-out mIoU"
    if found.get("selection") == "paper":
        judged = "mIoU on the half of the shots that chose the state (no image was held out)"
    return (
        f"{judged} {100 * found['held_out_miou']:.1f} after {counted(int(found['best_step']), 'step')}, "
        f"{100 * found['start_miou']:.1f} before the first (oracle {100 * found['held_out_oracle_miou']:.1f}, "
        f"{100 * found['start_oracle_miou']:.1f})."
    )


def _tempered(found: Mapping[str, Any]) -> str:
    if found.get("share", 1.0) == 1.0:
        return ""
    how = "are the base's own" if found["share"] == 0 else f"go {100 * found['share']:.0f} % of the way from the base"
    return (
        f"Clicks {how}: mIoU {100 * found['share_miou']:.1f} on images new to them, "
        f"the base's {100 * found['share_base_miou']:.1f}."
    )


def _looks(found: Mapping[str, Any]) -> str:
    if "region_dice" not in found:
        return ""
    told = f"Without a prompt: Dice {100 * found['region_dice']:.1f} on {counted(found['region_images'], 'image')}"
    closer = found["region_dice"] != found["region_dice_one_look"]
    one = f", {100 * found['region_dice_one_look']:.1f} with one look and the map alone" if closer else ""
    return f"{told} new to whoever answered{one}."


def _figures(progress: Progress) -> str:
    parts = [f"{progress.done}/{progress.total}"]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.miou is not None:
        parts.append(f"held-out mIoU {100 * progress.miou:.1f} (best {100 * progress.best_miou:.1f})")
    if progress.images_per_second is not None:
        parts.append(f"{progress.images_per_second:.1f} images/s")
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    return "  ".join(parts)
