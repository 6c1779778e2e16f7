"""What the command line says about the rows of a comparison: seeds, shots, settings of single methods, a detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from samtailor.cli import options
from samtailor.errors import InputError

Seeds = Annotated[
    str,
    typer.Option(
        metavar="N|S,...", help="Number of seeds (5: the seeds 0 to 4), or the seeds themselves (0,1,2; one alone: 7,)."
    ),
]
Shots = Annotated[
    str | None,
    typer.Option(metavar="K,...", help="Fit on so many images of each class; the smaller subsets in the larger."),
]
Detector = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="For methods that ask with a detector: an .onnx file, a hub id or folder of transformers, or full-frame.",
    ),
]
DetectorClasses = Annotated[
    str | None, typer.Option("--detector-classes", metavar="NAME,...", help="Only these classes of the detector.")
]
Setting = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of the fits, e.g. steps=500; of one method: samed.lr=1e-3, or deeplabv3.options.size=256; of "
        "all baselines: baselines.options.weights=scratch.",
    ),
]


def seeds_of(text: str) -> list[int]:
    """ "5" to [0, 1, 2, 3, 4]; "0,1,2" to [0, 1, 2]; "7," to [7].

    Raises:
        InputError: neither, a seed twice, or no seed at all.
    """
    several = "," in text
    found = _whole([part for part in text.split(",") if part.strip()], "--seeds", text)
    if not several and found[0] == 0:
        raise InputError("--seeds 0 would be no seed: a number alone says how many. For the seed 0 alone write 0,")
    if len(set(found)) != len(found):
        raise InputError(f"--seeds {text} names a seed twice.")
    return found if several else list(range(found[0]))


def shots_of(text: str | None) -> list[int] | None:
    """ "4,8,16" to [4, 8, 16], in rising order.

    Raises:
        InputError: something else, or a number below 1.
    """
    if text is None:
        return None
    found = sorted(set(_whole(text.split(","), "--shots", text)))
    if found[0] < 1:
        raise InputError(f"--shots must be numbers of images from 1, got {text!r}.")
    return found


def _whole(parts: Sequence[str], option: str, text: str) -> list[int]:
    if not parts or not all(part.strip().isdigit() for part in parts):
        raise InputError(f"{option} must be whole numbers separated by commas, got {text!r}.")
    return [int(part) for part in parts]


def settings_by_method(pairs: Sequence[str], methods: Sequence[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """KEY=VALUE pairs of all fits, and the fields of single methods by name.

    Args:
        pairs: METHOD.KEY=VALUE and METHOD.options.KEY=VALUE are one method's own; `baselines` stands for all of them.
        methods: names that are compared.
    """
    from samtailor.compare.entries import kind_of

    general: list[str] = []
    shared: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {name: {} for name in methods}
    for pair in pairs:
        owner, dot, rest = pair.partition("=")[0].partition(".")
        if not dot or owner not in (*methods, "baselines"):
            general.append(pair)
            continue
        ((_, value),) = options.settings([pair]).items()
        _put(shared if owner == "baselines" else own[owner], rest, value)
    for name in methods:
        if shared and kind_of(name) == "baselines":
            own[name] = _merged(shared, own[name])
    return general, own


def detected(detector: str | None, classes: str | None, methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`prompt_options` of the methods that ask with a detector, by name.

    Raises:
        InputError: classes without a detector.
    """
    from samtailor.compare.entries import kind_of
    from samtailor.registry import find

    if detector is None:
        if classes is not None:
            raise InputError("--detector-classes needs a --detector.")
        return {}
    given: dict[str, Any] = {"detector": "full-frame"}
    if detector != "full-frame":
        kind = {".onnx": "onnx", ".pt": "ultralytics"}.get(Path(detector).suffix.lower(), "transformers")
        given = {"detector": kind, "weights": detector}
    if classes is not None:
        given["classes"] = options.names(classes)
    asking = [name for name in methods if kind_of(name) == "methods"]
    asking = [name for name in asking if getattr(find("methods", name), "PROMPT", None) == "detector"]
    return {name: {"prompt_options": given} for name in asking}


def merged(one: Mapping[str, Mapping[str, Any]], other: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Settings by method, the second ones on top."""
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


__all__ = ["Detector", "DetectorClasses", "Seeds", "Setting", "Shots", "detected", "merged", "seeds_of",
           "settings_by_method", "shots_of"]  # fmt: skip
