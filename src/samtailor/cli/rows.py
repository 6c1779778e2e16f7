"""Options of the rows of a comparison: seeds, shots, settings of single methods, a detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samtailor.cli import options
from samtailor.errors import InputError

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.compare import Comparison
    from samtailor.structures import Sample
    from samtailor.train.config import FitConfig

Seeds = Annotated[
    str,
    typer.Option(
        metavar="N|S,...", help="Number of seeds (5 means 0 to 4), or a list of seeds (0,1,2; a single one: 7,)."
    ),
]
Shots = Annotated[
    str | None,
    typer.Option(
        metavar="K,...", help="Number of training images of each class; smaller subsets are part of larger ones."
    ),
]
PresetBase = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="BASE",
        help="Base model: lite, a hub id, a folder, or a sam_vit_*.pth file from Meta. Default: that of the preset, or "
        "lite.",
    ),
]
Detector = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Detector of methods that need one: an .onnx or .pt file, a hub id or folder of transformers, or the "
        "name of a detector without weights (full-frame, plug-ins).",
    ),
]
DetectorClasses = Annotated[
    str | None, typer.Option("--detector-classes", metavar="NAME,...", help="Use only these classes of the detector.")
]
Setting = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Setting of all fits, e.g. steps=500; of one method, e.g. samed.lr=1e-3 or deeplabv3.options.size=256; of "
        "all baselines, e.g. baselines.options.weights=scratch. data_options.NAME is an option of the format of DATA "
        "and of --test, test_options.NAME of --test alone.",
    ),
]


def seeds_of(text: str) -> list[int]:
    """ "5" to [0, 1, 2, 3, 4]; "0,1,2" to [0, 1, 2]; "7," to [7].

    Raises:
        InputError: the text has another form, contains a seed twice, or no seed.
    """
    several = "," in text
    numbers = _whole([part for part in text.split(",") if part.strip()], "--seeds", text)
    if not several and numbers[0] == 0:
        raise InputError("--seeds 0 means no seeds: a single number is a count. For the seed 0 alone write 0,")
    if len(set(numbers)) != len(numbers):
        raise InputError(f"--seeds {text} contains a seed twice.")
    return numbers if several else list(range(numbers[0]))


def shots_of(text: str | None) -> list[int] | None:
    """ "4,8,16" to [4, 8, 16], in ascending order.

    Raises:
        InputError: the text has another form, or a number is below 1.
    """
    if text is None:
        return None
    counts = sorted(set(_whole(text.split(","), "--shots", text)))
    if counts[0] < 1:
        raise InputError(f"--shots must be numbers of images from 1, got {text!r}.")
    return counts


def _whole(parts: Sequence[str], option: str, text: str) -> list[int]:
    if not parts or not all(part.strip().isdigit() for part in parts):
        raise InputError(f"{option} must be whole numbers separated by commas, got {text!r}.")
    return [int(part) for part in parts]


def settings_by_method(pairs: Sequence[str], methods: Sequence[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """KEY=VALUE pairs of all fits, and the fields of single methods by name.

    Args:
        pairs: METHOD.KEY=VALUE and METHOD.options.KEY=VALUE belong to one method; `baselines` stands for all
            baselines.
        methods: names of the methods that are compared.
    """
    from samtailor.compare.entries import kind_of

    general: list[str] = []
    shared: dict[str, Any] = {}
    by_method: dict[str, dict[str, Any]] = {name: {} for name in methods}
    for pair in pairs:
        owner, dot, rest = pair.partition("=")[0].partition(".")
        if not dot or owner not in (*methods, "baselines"):
            general.append(pair)
            continue
        ((_, value),) = options.settings([pair]).items()
        _put(shared if owner == "baselines" else by_method[owner], rest, value)
    for name in methods:
        if shared and kind_of(name) == "baselines":
            by_method[name] = _merged(shared, by_method[name])
    return general, by_method


def test_options(pairs: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """KEY=VALUE pairs without those of test_options.NAME, and these by name."""
    mine = [pair for pair in pairs if pair.startswith("test_options.")]
    values = {key.partition(".")[2]: value for key, value in options.settings(mine).items()}
    return [pair for pair in pairs if pair not in mine], values


def detector_options(
    detector: str | None, classes: str | None, methods: Sequence[str], *, always: bool = False
) -> dict[str, dict[str, Any]]:
    """`prompt_options` of the methods that are prompted by a detector, by name; with `always` of every method.

    Raises:
        InputError: classes without a detector.
    """
    from samtailor.compare.entries import kind_of
    from samtailor.limits import trust
    from samtailor.proposals.detectors import module_of
    from samtailor.registry import find

    if detector is None:
        if classes is not None:
            raise InputError("--detector-classes needs a --detector.")
        return {}
    name, _ = module_of(detector)
    given: dict[str, Any] = {"detector": name}
    if name != detector:
        given["weights"] = detector
    trust(detector)
    if classes is not None:
        given["classes"] = options.names(classes)
    named = [name for name in methods if kind_of(name) == "methods"]
    return {
        name: {"prompt_options": given}
        for name in named
        if always or getattr(find("methods", name), "PROMPT", None) == "detector"
    }


def base_of(base: str | None, preset: str | None) -> str:
    """The base model of a comparison: as given, else that of the preset, else the bundled one."""
    from samtailor.registry import BUNDLED_BASE, find

    shared = {} if preset is None else find("presets", preset).SHARED
    return base or shared.get("base", BUNDLED_BASE)


def check_prompts(runs: Mapping[str, FitConfig]) -> None:
    """Build the prompt source of every method once, so that a missing detector is reported before data are read.

    Raises:
        InputError: the options do not make a prompt source; the message starts with the title of the row.
    """
    from samtailor.compare.entries import kind_of
    from samtailor.registry import find
    from samtailor.train.config import resolve

    for title, config in runs.items():
        if kind_of(config.method) == "methods":
            resolved = resolve(config)
            try:
                find("prompts", resolved.prompt).build(**resolved.prompt_options)
            except InputError as error:
                raise InputError(f"{title}: {error}") from error


def compared(
    runs: Mapping[str, FitConfig],
    out: Path,
    base: Base,
    samples: Sequence[Sample],
    held_out: Sequence[Sample] | None,
    *,
    shots: Sequence[int] | None,
    **how: Any,
) -> list[Comparison]:
    """One comparison for each number of shots, or a single one without them, with a progress bar.

    Args:
        runs, out, base, samples, held_out: see `samtailor.compare.compare`.
        shots: numbers of shots; None or empty: those of the runs.
        how: further arguments of `compare`.
    """
    from samtailor.cli.progress import watching
    from samtailor.compare import compare, compare_shots

    with watching() as watch:
        if shots:
            return compare_shots(runs, out, base, samples, held_out, shots=shots, watch=watch, **how)
        return [compare(runs, out, base, samples, held_out, watch=watch, **how)]


def merged(one: Mapping[str, Mapping[str, Any]], other: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Settings by method; those of `other` take precedence."""
    return {name: _merged(one.get(name, {}), other.get(name, {})) for name in {**one, **other}}


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {**one, **other}
    return {
        key: {**one[key], **other[key]}
        if isinstance(one.get(key), dict) and isinstance(other.get(key), dict)
        else value
        for key, value in both.items()
    }


def _put(fields: dict[str, Any], key: str, value: Any) -> None:
    owner, dot, name = key.partition(".")
    if dot:
        fields[owner] = {**fields.get(owner, {}), name: value}
    else:
        fields[owner] = value


__all__ = ["Detector", "DetectorClasses", "PresetBase", "Seeds", "Setting", "Shots", "base_of", "check_prompts",
           "compared", "detector_options", "merged", "seeds_of", "settings_by_method", "shots_of"]  # fmt: skip
