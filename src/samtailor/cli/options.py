"""Arguments and options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from samtailor.errors import DataError, InputError
from samtailor.limits import parse_yaml, trust

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of the data set, in any supported format.")]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files and folders.")]
Adapter = Annotated[
    str | None,
    typer.Option("--adapter", metavar="DIR", help="Adapter folder or hub id; default: the base model alone."),
]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        metavar="[NAME=]DIR",
        help="Adapter folder or hub id; repeat for several. Default: the base model alone.",
    ),
]
Base = Annotated[
    str, typer.Option(metavar="BASE", help="Base model: lite, a hub id, a folder, or a sam_vit_*.pth file from Meta.")
]
AdapterBase = Annotated[
    str | None, typer.Option("--base", metavar="BASE", help="Base model; default: the one of the adapter, or lite.")
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Settings of a paper for all that are not given: {presets} (docs/methods/presets.md).",
    ),
]
Classes = Annotated[str | None, typer.Option(metavar="NAME,...", help="Use only these classes; default: all.")]
Format = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Format of the data: {formats}, or a public data set: {sets}. Default: detected."
    ),
]
GroupRule = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="RULE",
        help="How images are grouped; a group is never split. prefix:N, regex:PATTERN, folder, or csv:FILE (columns "
        "id, group).",
    ),
]
Seed = Annotated[int, typer.Option(metavar="S", help="Random seed.")]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one.")
]
Prompt = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Prompt source: {prompts}; or auto, to find the objects without a prompt. Default: the one that the "
        "adapter was fitted for; for the base model a click at the center of the mask.",
    ),
]
Detector = Annotated[
    str | None,
    typer.Option(
        "--detector",
        metavar="FILE",
        help="Detector for automatic mode: an .onnx or .pt file, a hub id or folder of transformers, or the name "
        "of a detector without weights (full-frame, plug-ins). Default: the proposals of the adapter.",
    ),
]
DetectorClasses = Annotated[
    str | None,
    typer.Option(
        "--detector-classes",
        metavar="NAME,...",
        help="Use only these classes of the detector; the text prompt of an open-vocabulary detector.",
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", min=0, max=1, metavar="T", help="Minimum score in automatic mode, 0 to 1."),
]
Refine = Annotated[bool, typer.Option("--refine", help="Refine outlines with the PMM of plm-pmm adapters.")]
PromptType = Annotated[
    str | None,
    typer.Option(
        "--prompt-type",
        metavar="points|boxes",
        help="Prompts in automatic mode; default: as the adapter was fitted, boxes for the base model.",
    ),
]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the results to a JSON file.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a self-contained HTML report.")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, metavar="N", help="Fits that run in parallel; default: the number of cores, at most 4."
    ),
]
DataSetting = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Option of the format of DATA, as in `samtailor fit`: data_options.mask_suffix=_GT, "
        "data_options.annotations=train.json.",
    ),
]
RunLengths = Annotated[
    bool, typer.Option("--rle", help="Write masks as run lengths, exact, instead of polygons (same as --set rle=true).")
]
FormatOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Option of the output format, e.g. rle=true or val=0.1."),
]
Vertices = Annotated[
    int | None,
    typer.Option(
        "--vertices",
        min=3,
        metavar="N",
        help="Maximum number of vertices per object; default: outlines exact to half a pixel.",
    ),
]
TileSide = Annotated[
    int | None,
    typer.Option("--tile", min=32, metavar="SIDE", help="Cut larger images into tiles of this side, in pixels."),
]
TileOverlap = Annotated[
    float,
    typer.Option("--overlap", min=0, max=0.9, metavar="FRACTION", help="Overlap of the tiles, fraction of the side."),
]
ImageFiles = Annotated[
    str, typer.Option("--images", metavar="copy|link|none", help="How the images get into the result.")
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        min=1,
        max=20_000_000_000,
        metavar="N",
        help="Largest number of pixels of an image; default: 178956970. An image is read whole: 3 bytes per pixel.",
    ),
]
CacheGb = Annotated[
    float | None,
    typer.Option(
        "--cache-gb",
        min=0.001,
        metavar="GB",
        help="Size limit of the cached embeddings; default: $SAMTAILOR_CACHE_GB, or 20.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing result.")]


def allow_pixels(number: int | None) -> None:
    """Apply --max-pixels."""
    if number is not None:
        from samtailor.data.image import allow_pixels as allow

        allow(number)


def limit_cache(gigabytes: float | None) -> None:
    """Apply --cache-gb, also to the processes that this one starts."""
    if gigabytes is not None:
        from samtailor.cache.room import VARIABLE

        os.environ[VARIABLE] = repr(gigabytes)


def workers(given: int | None) -> int:
    """The given number, or one worker per core, at most four: each process holds its own base model."""
    return given or min(os.cpu_count() or 1, 4)


def names(text: str | None) -> list[str] | None:
    """ "a, b" to ["a", "b"]; None stays None."""
    return None if text is None else listed(text)


def listed(text: str) -> list[str]:
    """ "a, b" to ["a", "b"].

    Raises:
        InputError: there is no name.
    """
    parts = [name.strip() for name in text.split(",") if name.strip()]
    if not parts:
        raise InputError(f"Expected names separated by commas, got {text!r}.")
    return parts


def numbers(text: str, count: Sequence[int], form: str) -> list[float]:
    """ "3,4" to [3.0, 4.0]; `count` lists the allowed lengths, `form` describes the format in the error message."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in count:
        raise InputError(f"Expected {form}, got {text!r}.")
    return values


def settings(pairs: Sequence[str]) -> dict[str, Any]:
    """["lr=1e-4", "options.head=paper_plain"] to {"lr": 0.0001, "options.head": "paper_plain"}; values are YAML.

    Weights of a detector given so are trusted (`limits.trust`): the user named them.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise InputError(f"Expected KEY=VALUE, got {pair!r}.")
        try:
            value = parse_yaml(text, f"The value of {key}")
        except DataError as error:
            raise InputError(str(error)) from error
        if key.strip().endswith(("prompt_options.weights", "prompt_options.detector")) and isinstance(value, str):
            trust(value)
        # YAML 1.1 reads 1e-4 as text
        values[key.strip()] = float(value) if isinstance(value, str) and _is_number(value) else value
    return values


def format_options(rle: bool, pairs: Sequence[str] | None) -> dict[str, Any]:
    """Options of an output format from --rle and --set."""
    return settings(pairs or []) | ({"rle": True} if rle else {})


def data_options(pairs: Sequence[str] | None) -> dict[str, Any]:
    """["data_options.mask_suffix=_GT"] to {"mask_suffix": "_GT"}.

    Raises:
        InputError: another setting.
    """
    values = {}
    for key, value in settings(pairs or []).items():
        owner, dot, name = key.partition(".")
        if owner != "data_options" or not dot or not name:
            raise InputError(f"--set takes options of the data set here (data_options.NAME=VALUE), got {key!r}.")
        values[name] = value
    return values


def amount(flag: str, text: str | None) -> int | float | None:
    """ "12" to 12, "0.2" to 0.2; None stays None.

    Raises:
        InputError: not a number.
    """
    if text is None:
        return None
    try:
        return int(text) if text.strip().isdecimal() else float(text)
    except ValueError:
        raise InputError(f"{flag} needs a number of images or a share of them, got {text!r}.") from None


def adapters_by_name(texts: Sequence[str]) -> dict[str, str]:
    """["banner=DIR", "adapters/plate"] to {"banner": "DIR", "plate": "adapters/plate"}.

    The folder of a fit with --per-class stands for the adapters of its classes.

    Raises:
        InputError: two adapters have the same name, or an empty one.
    """
    from samtailor.artefact.members import members, named_members

    named: dict[str, str] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if (equals and not name) or not (folder if equals else text):
            raise InputError(f"Expected --adapter DIR or --adapter NAME=DIR, got {text!r}.")
        adapters = named_members(name, folder) if equals else members(text) or {Path(text).name: text}
        for one, place in adapters.items():
            if one in named:
                raise InputError(f"Two adapters have the name {one!r}; name them: --adapter one=DIR --adapter two=DIR.")
            named[one] = place
    return named


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().lower() not in ("nan", "inf", "infinity")
