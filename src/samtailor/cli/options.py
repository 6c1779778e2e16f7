"""Arguments and options that several commands share, stated once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from samtailor.errors import InputError

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of the data set, in any known layout.")]
Base = Annotated[
    str, typer.Option(metavar="BASE", help="Base model: nano, a hub id, a folder, or Meta's sam_vit_*.pth.")
]
Classes = Annotated[str | None, typer.Option(metavar="NAME,...", help="Only these classes; default: all.")]
Format = Annotated[str | None, typer.Option(metavar="NAME", help="Layout of the data; default: found out.")]
GroupRule = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="RULE",
        help="What keeps images together: prefix:N, regex:PATTERN, folder, or csv:FILE (columns id, group).",
    ),
]
Seed = Annotated[int, typer.Option(metavar="S", help="Seed of everything random.")]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1, ...; default: a GPU where there is one.")
]
Prompt = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Where prompts come from: mask-center, sampled-click, mask-box, ...; default: what the adapter was made "
        "for, a click at the mask's centre for the base.",
    ),
]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a self-contained report here.")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, metavar="N", help="Fits at once, a process each; default: as many as cores, to 4."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def workers(given: int | None) -> int:
    """The number given, or one for each core, at most four: each process holds a base of its own."""
    return given or min(os.cpu_count() or 1, 4)


def names(text: str | None) -> list[str] | None:
    """ "a, b" to ["a", "b"]; None stays None."""
    if text is None:
        return None
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise InputError(f"Expected names separated by commas, got {text!r}.")
    return found


def numbers(text: str, count: Sequence[int], form: str) -> list[float]:
    """ "3,4" to [3.0, 4.0]; `count` lists how many there may be, `form` is shown in the error."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in count:
        raise InputError(f"Expected {form}, got {text!r}.")
    return found


def settings(pairs: Sequence[str]) -> dict[str, object]:
    """["lr=1e-4", "options.head=paper_plain"] to {"lr": 0.0001, "options.head": "paper_plain"}; values are YAML."""
    import yaml

    found: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"Expected KEY=VALUE, got {pair!r}.")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"The value of {pair!r} is not YAML: {error}.") from error
        # YAML 1.1 takes 1e-4 for text
        found[key.strip()] = float(parsed) if isinstance(parsed, str) and _is_number(parsed) else parsed
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().lower() not in ("nan", "inf", "infinity")
