"""`samtailor fit`: fit an adapter to a folder of masks."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import fit_engine, options
from samtailor.cli.rows import Detector, DetectorClasses, detector_options
from samtailor.errors import InputError

if TYPE_CHECKING:
    from samtailor.fitting import FitResult
    from samtailor.train.config import FitConfig

PAPER, OF_PAPER = "paper", ("plm", "plm-pmm")
"""The built-in set of settings of --config, and the methods that it is for."""
PROMPTLESS = ("none", "detector")
"""Prompt sources of adapters that find objects without clicks or boxes of the user."""


def fit_command(
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="Folder of the data set, in any supported format.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the adapter; default: ./NAME-adapter, by the name of DATA."),
    ] = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="Method: {methods} (docs/methods/index.md). Default: auto.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time for the contest of --method auto: 30s, 2m, 10m, 1h; default: 2m, or a minute for each class.",
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="plan.json of an earlier fit: repeat what it chose, without a contest."),
    ] = None,
    preset: options.Preset = None,
    base: Annotated[
        str | None, typer.Option(metavar="BASE", help="Base model; default: that of the preset, or lite.")
    ] = None,
    classes: options.Classes = None,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Fit one adapter for each class, in OUT/CLASS.")
    ] = False,
    steps: Annotated[int | None, typer.Option(min=0, metavar="N", help="Training steps.")] = None,
    batch_size: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Masks per batch; auto: as many as the memory allows.")
    ] = None,
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
    detector: Detector = None,
    detector_classes: DetectorClasses = None,
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
    present: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Adapter in use; the fit says whether the new one is better on held-out images."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted fit.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the adapter in --out without a comparison.")
    ] = False,
    engine: fit_engine.Engine = fit_engine.PROCESSES,
    address: fit_engine.Address = None,
    gpus: fit_engine.Gpus = 0.0,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Print plan.json in sentences; without DATA that of the adapter in --out."),
    ] = False,
) -> None:
    """Fit an adapter for a frozen base model to the masks of a data set.

    Without --method, candidates are compared by cross-validation within --budget, separately for clicks, boxes and
    images without a prompt, and the best ones are fitted on all images. The first usable adapter is in --out early;
    Ctrl-C keeps the best one so far.

    With --method NAME one method is fitted. Ctrl-C saves and stops; --resume continues to the same result. The state
    with the best score on held-out images is kept. Each fit is compared with the base model for clicks and boxes; where
    it is not better, the base model answers. If --out contains an adapter already, the new one replaces it unless it is
    worse; then it is left in DIR.new.

    With --shots there are no held-out images: the last state is kept, or, for two-level methods, the best state on the
    second half of the images.

    --engine ray runs the fits of the contest on a Ray cluster; --set options.workers=N is their number at a time.
    """
    given: dict[str, Any] = {
        "data": data,
        "out": out,
        "preset": preset,
        "method": method,
        "budget": budget,
        "plan": plan,
        "base": base,
        "classes": options.names(classes),
        "per_class": per_class or None,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "shots": shots,
        "val": options.amount("--val", val),
        "test": options.amount("--test", test),
        "views": views,
        "seed": seed,
        "format": format,
        "group": group,
        "precision": precision,
        "device": device,
        "present": present,
    }
    if explain and data is None and out is not None:
        print_plan(out)
        return
    refuse_paper(config, [method])
    fields = with_detector(fields_of(config, given, setting or []), detector, detector_classes)
    if fields.get("data") is None:
        raise InputError("A fit needs DATA, the folder of a data set: samtailor fit DATA --out DIR.")
    if fields.get("out") is None:
        fields["out"] = Path(f"{Path(fields['data']).resolve().name}-adapter")
    from samtailor.cli.progress import fit_progress
    from samtailor.cli.screen import say
    from samtailor.fitting.api import fit
    from samtailor.fitting.verdict import verdict

    with fit_engine.fits_of(fields.get("method"), engine, address, gpus), fit_progress() as progress:
        result = fit(resume=resume, overwrite=overwrite, progress=progress, **fields)
    if os.environ.get("RANK", "0") != "0":  # the first of several processes reports for all
        return
    said = () if result.account is None else (*result.account.layout, *result.account.lines())
    for line in dict.fromkeys(said):  # a line for each class is often the same
        say(f"Data: {line}" if not line.startswith(" ") else line)
    if any("contest" in part.figures for part in result.parts.values()):
        print_classes(result)
    for sentence in (*planned(result), *verdict(result)):
        say(sentence)
    for part in result.parts.values() or (result,):
        if part.kept is not None:
            say(f"The adapter in {part.kept} is unchanged. The new one is in {part.folder}; --overwrite replaces it.")
    if explain:
        for part in (result.parts or {"": result}).values():
            print_plan(part.folder)
    if result.kept is None:
        say(f"The adapter is in {result.folder}.")
    say(f"Next: {next_command(result, fields['data'])}")


def print_classes(result: FitResult) -> None:
    """Print what the contests of several classes have chosen, and how good it is."""
    from samtailor.cli.class_table import HEAD, NOTE, class_table
    from samtailor.cli.screen import say, table

    if rows := class_table(result.parts):
        table("Classes", HEAD, rows, NOTE)
        first = shlex.quote(str(next(iter(result.parts.values())).folder))
        say(f"Details of a class: samtailor fit --explain --out {first}")


def print_plan(adapter: Path) -> None:
    """Print the plan of a contest in sentences.

    Raises:
        InputError: the folder has none.
    """
    from samtailor.cli.screen import say
    from samtailor.fitting.contest.plan_file import ContestPlan
    from samtailor.fitting.folder import PLAN

    for line in ContestPlan.read(adapter / PLAN).explained():
        say(line)


def planned(result: FitResult) -> Iterator[str]:
    """What the fit decided by the machine it ran on, see `fitting.plan`."""
    from samtailor.fitting.plan import read_plan

    for part in (result.parts or {"": result}).values():
        plan = read_plan(part.folder)
        if plan is not None and part.config.batch_size == "auto":
            yield f"Batch size: {plan.batch_size} masks, the largest that the memory allows."
        if plan is not None and plan.resident is not None and part.config.resident is None:
            yield f"Trained on {plan.resident} images at a time, because their embeddings do not fit in the cache."


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


def refuse_paper(config: str | None, methods: Sequence[str | None]) -> None:
    """`--config paper` is the schedule of Kim et al. for two methods; refuse it for others, and without a method.

    Raises:
        InputError: another method, or none (None in the list).
    """
    for method in methods if config == PAPER else ():
        if method not in OF_PAPER:
            named = "no method is named" if method is None else f"the method is {method}"
            raise InputError(
                f"--config paper is the schedule of Kim et al. for {' and '.join(OF_PAPER)}, but {named}. Use it with "
                "one of them, or use all settings of a paper: --preset kim-2024 or --preset am-sam-2024."
            )


def with_detector(fields: dict[str, Any], detector: str | None, classes: str | None) -> dict[str, Any]:
    """Settings of a fit with the detector of --detector.

    Raises:
        InputError: the method is not prompted by a detector.
    """
    if detector is None and classes is None:
        return fields
    from samtailor.train.config import load, resolve

    config = resolve(load(None, fields))
    given = detector_options(detector, classes, [config.method], always=True)[config.method]["prompt_options"]
    if config.prompt != "detector":
        raise InputError(
            f"--detector is for methods that are prompted by a detector (am-sam), and {config.method} is prompted by "
            f"{config.prompt}. Leave it out, or set prompt=detector."
        )
    return {**fields, "prompt_options": {**given, **fields.get("prompt_options", {})}}


def settings_of(config: str | None, given: Mapping[str, Any], pairs: list[str]) -> FitConfig:
    """`fields_of`, checked."""
    from samtailor.train.config import load

    return load(None, fields_of(config, given, pairs))


def next_command(result: FitResult, data: Path | None) -> str:
    """The command that most users run after this fit."""
    config = result.config
    part = next(iter(result.parts.values()), result)
    adapter = shlex.quote(str(part.kept or part.folder))
    if config.test and data is not None:
        return f"samtailor evaluate {shlex.quote(str(data))} --adapter {adapter} --split test"
    if "region_dice" in part.figures or part.inference.prompt in PROMPTLESS:
        every = shlex.quote(str(result.folder)) if result.parts else adapter  # the folder stands for all classes
        return f"samtailor label IMAGES --adapter {every} --out labels"
    return f"samtailor predict IMAGES --adapter {adapter} --click X,Y"
