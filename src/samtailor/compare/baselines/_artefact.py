"""A baseline on disk: baseline.safetensors + baseline.json, written last, with the digest of the tensors.

Loading is strict and needs no hub: the whole network lies in the file. Nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from samtailor.compare.baselines import SCRATCH, Baseline
from samtailor.data.strict_files import digest, read_metadata, read_tensors
from samtailor.errors import ArtefactError, InputError
from samtailor.registry import find

SCHEMA = 1
TENSORS, METADATA = "baseline.safetensors", "baseline.json"
_MEND = "Copy the baseline again, or fit it again."


class BaselineMeta(BaseModel):
    """baseline.json.

    Args:
        schema_version: of this layout.
        name, options: what `baselines.<name>.build(**options)` is called with.
        weights: where the backbone started: hub id, folder or "scratch".
        classes: classes it was fitted to.
        parameters: numbers, "all" and "trained".
        figures: what is known about its quality.
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
    """Write a fitted baseline into a folder, each file at once, baseline.json last.

    Raises:
        InputError: it is not fitted.
    """
    from safetensors.torch import save_file

    from samtailor.data.image import replacing, write_json

    if not baseline.classes:
        raise InputError(f"{baseline.name!r} is not fitted: there is nothing to save.")
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
    write_json(folder / METADATA, meta.model_dump(mode="json"))
    return meta


def load(folder: str | Path) -> Baseline:
    """A baseline as it was saved, in evaluation mode, on the CPU.

    Raises:
        ArtefactError: no baseline there, a tensor missing or left over, a damaged or newer file.
    """
    folder = Path(folder)
    meta, tensors = read_meta(folder), read_tensors(folder / TENSORS, mend=_MEND)
    try:
        baseline = find("baselines", meta.name).build(**meta.options, weights=SCRATCH)
        baseline.classes, baseline.weights = meta.classes, meta.weights
        baseline.load_learned(tensors)
    except (InputError, TypeError) as error:
        raise ArtefactError(
            f"The baseline in {folder} cannot be rebuilt: {error} Is it of another samtailor?"
        ) from error
    if digest(folder / TENSORS) != meta.sha256:
        raise ArtefactError(
            f"{folder / TENSORS} is not the file that {METADATA} belongs to (its digest differs): it was damaged or "
            "exchanged. Copy the baseline again, or fit it again."
        )
    return baseline


def read_meta(folder: str | Path) -> BaselineMeta:
    """baseline.json of a folder.

    Raises:
        ArtefactError: not there, damaged, or of a newer samtailor.
    """
    absent = f"{folder} holds no baseline: there is no {METADATA}."
    return read_metadata(Path(folder) / METADATA, BaselineMeta, SCHEMA, absent=absent, mend=_MEND)


__all__ = ["BaselineMeta", "load", "read_meta", "save"]
