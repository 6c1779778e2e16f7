"""Baselines on disk: baseline.safetensors, and baseline.json with the digest of the tensors, written last.

The file contains the whole network, so loading is strict and does not use the hub. Nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from samtailor.compare.baselines import SCRATCH, Baseline
from samtailor.data.strict_files import digest, read_metadata, read_tensors
from samtailor.errors import ArtefactError, InputError
from samtailor.limits import hold
from samtailor.registry import find

SCHEMA = 1
TENSORS, METADATA = "baseline.safetensors", "baseline.json"
_MEND = "Copy the baseline again, or fit it again."


class BaselineMeta(BaseModel):
    """baseline.json.

    Args:
        schema_version: version of this layout.
        name, options: arguments of `baselines.<name>.build(**options)`.
        weights: initial weights of the backbone: hub id, folder or "scratch".
        classes: classes it was fitted to.
        parameters: number of parameters, "all" and "trained".
        figures: "held_out_miou" and "best_step" of the fit.
        sha256: digest of baseline.safetensors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA
    name: str
    options: dict[str, Any]
    weights: str
    classes: tuple[str, ...]
    parameters: dict[str, int]
    figures: dict[str, Any] = {}
    sha256: str = ""


def save(folder: str | Path, baseline: Baseline, figures: Mapping[str, Any] | None = None) -> BaselineMeta:
    """Write a fitted baseline to a folder, each file atomically and baseline.json last.

    Raises:
        InputError: the baseline is not fitted.
    """
    from safetensors.torch import save_file

    from samtailor.data.writing import replacing, sealed, write_json

    if not baseline.classes:
        raise InputError(f"{baseline.name!r} is not fitted, so it cannot be saved.")
    folder = Path(folder)
    with replacing(folder / TENSORS) as temporary:
        save_file(baseline.learned(), temporary, metadata={"format": "pt"})
        sha256 = digest(temporary)
    meta = BaselineMeta(
        name=baseline.name,
        options=dict(baseline.options),
        weights=baseline.weights,
        classes=baseline.classes,
        parameters=baseline.parameters_by_use(),
        figures=dict(figures or {}),
        sha256=sha256,
    )
    write_json(folder / METADATA, sealed(meta.model_dump(mode="json")))
    return meta


def load(folder: str | Path) -> Baseline:
    """Load a baseline, in evaluation mode, on the CPU.

    Raises:
        ArtefactError: no baseline there, a tensor missing or unexpected, a damaged or newer file.
    """
    folder = Path(folder)
    meta, tensors = read_meta(folder), read_tensors(folder / TENSORS, mend=_MEND)
    try:
        for name, value in meta.options.items():
            if isinstance(value, int | float):
                hold(abs(value), "width", f"{METADATA}, option {name}")
        baseline: Baseline = find("baselines", meta.name).build(**meta.options, weights=SCRATCH)
        baseline.classes, baseline.weights = meta.classes, meta.weights
        baseline.load_learned(tensors)
    except MemoryError:
        raise
    except Exception as error:  # options of a damaged file fail anywhere in the network
        raise ArtefactError(
            f"The baseline in {folder} cannot be rebuilt: {str(error)[:300]} Use the version of samtailor that "
            "saved it."
        ) from error
    if digest(folder / TENSORS) != meta.sha256:
        raise ArtefactError(
            f"{folder / TENSORS} does not match {METADATA} (its digest differs): it was damaged or replaced. {_MEND}"
        )
    return baseline


def read_meta(folder: str | Path) -> BaselineMeta:
    """Read baseline.json of a folder.

    Raises:
        ArtefactError: there is none, it is damaged, or it was written by a newer samtailor.
    """
    absent = f"{folder} contains no baseline: there is no {METADATA}."
    return read_metadata(Path(folder) / METADATA, BaselineMeta, SCHEMA, absent=absent, mend=_MEND)


__all__ = ["BaselineMeta", "load", "read_meta", "save"]
