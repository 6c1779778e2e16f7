"""Metadata of an adapter (adapter.json) and the names of its files. Reading it does not import torch."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from samtailor.data.strict_files import read_metadata
from samtailor.structures import InferenceSpec
from samtailor.structures.renames import renamed_figures, renamed_options

if TYPE_CHECKING:
    from samtailor.bases.companions import Companion
    from samtailor.segmenter import Segmenter

SCHEMA = 2
TENSORS, METADATA, CARD, SPLIT = "adapter.safetensors", "adapter.json", "README.md", "split.json"
MEND = "Copy the adapter again, or fit it again."
"""Remedy for a damaged file."""


class BaseReference(BaseModel):
    """The base model of an adapter: name to load and fingerprint to check."""

    model_config = ConfigDict(frozen=True)

    name: str
    fingerprint: str
    parameters: int


class CompanionReference(BaseModel):
    """The companion of an adapter: name to load and fingerprint to check."""

    model_config = ConfigDict(frozen=True)

    name: str
    fingerprint: str
    parameters: int

    @classmethod
    def of(cls, companion: Companion) -> CompanionReference:
        """Of a loaded companion."""
        count = sum(parameter.numel() for parameter in companion.model.parameters())
        return cls(name=companion.name, fingerprint=companion.fingerprint, parameters=count)


class DataReference(BaseModel):
    """How the data set of a fit was read.

    Args:
        format: name of its layout; None if it is not known.
        options: options of the layout, for example {"mask_suffix": "_GT"}.
    """

    model_config = ConfigDict(frozen=True)

    format: str | None = None
    options: dict[str, Any] = {}


class AdapterMeta(BaseModel):
    """adapter.json.

    Args:
        schema_version: version of this layout.
        method, options: arguments of `methods.<method>.build(base, **options)`.
        base: the base model it was fitted on.
        companion: the frozen network that it reads beside the base; None without one.
        classes: classes it was fitted to.
        data: how the data set of the fit was read; None in adapters of earlier versions.
        inference: how it is prompted and what its prediction means.
        parameters: number of trained parameters by adapter module.
        figures: measurements of the fit, see `fitting.FitResult`.
        seed, steps: seed and number of updates of the fit.
        split: name of the file with the image ids of each part; None without one.
        versions: versions of Python and of the libraries.
        created: date and time, ISO 8601, UTC.
        sha256: digest of adapter.safetensors.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA
    method: str
    options: dict[str, Any] = {}
    base: BaseReference
    companion: CompanionReference | None = None
    classes: tuple[str, ...] = ()
    data: DataReference | None = None
    inference: InferenceSpec = InferenceSpec()
    parameters: dict[str, int] = {}
    figures: dict[str, Any] = {}
    seed: int = 0
    steps: int = 0
    split: str | None = None
    versions: dict[str, str] = {}
    created: str = Field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    sha256: str = ""

    @field_validator("figures")
    @classmethod
    def _scores_are_numbers(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, figure in value.items():
            score = name == "alpha" or name.endswith(("miou", "_dice", "_ap"))
            if score and not (figure is None or (isinstance(figure, int | float) and math.isfinite(figure))):
                raise ValueError(f"{name} must be a finite number, got {figure!r:.80}")
        return value


def describe(segmenter: Segmenter, *, method: str, options: Mapping[str, Any], **fields: Any) -> AdapterMeta:
    """Metadata of a segmenter; `fields` are further fields of `AdapterMeta`."""
    base, companion = segmenter.base, segmenter.companion
    count = sum(parameter.numel() for parameter in base.model.parameters())
    counts = {name: sum(p.numel() for p in m.parameters()) for name, m in segmenter.adapters.items()}
    return AdapterMeta(
        method=method,
        options=dict(options),
        base=BaseReference(name=base.name, fingerprint=base.fingerprint, parameters=count),
        companion=None if companion is None else CompanionReference.of(companion),
        parameters={name: count for name, count in counts.items() if count},
        inference=segmenter.inference,
        versions=_versions(),
        **fields,
    )


def read_meta(folder: str | Path) -> AdapterMeta:
    """Read adapter.json of a folder.

    Raises:
        ArtefactError: there is none, it is damaged, or it was written by a newer samtailor.
    """
    file = Path(folder) / METADATA
    return read_metadata(
        file,
        AdapterMeta,
        SCHEMA,
        upgrade=upgraded,
        absent="" if file.is_file() else f"{folder} holds no adapter: there is no {METADATA}. {_instead(file.parent)}",
        mend=MEND,
    )


def _instead(folder: Path) -> str:
    """What to give instead of a folder without an adapter."""
    inside = sorted(file.parent.name for file in folder.glob(f"*/{METADATA}"))
    if inside:
        return f"It holds one adapter for each class, {', '.join(inside)}: give one of these folders."
    return "Give the folder of a finished fit. An interrupted fit has none yet; continue it with --resume."


_OLD_FIELDS = {
    "prompt": "prompt",
    "prompt_options": "prompt_options",
    "regions": "regions",
    "alone": "single_class",
    "single": "single_instance",
    "smallest": "smallest_object",
    "looking": "tiling",
}
"""Fields of schema 1 that became fields of `inference`."""


def upgraded(values: dict[str, Any], version: int) -> dict[str, Any]:
    """Values of adapter.json of any schema, with the fields of `SCHEMA` and present names of options and figures."""
    if version < 2:
        values = dict(values)
        inference = {new: values.pop(old) for old, new in _OLD_FIELDS.items() if old in values}
        values["inference"] = {"single_class": False, "single_instance": False} | inference
    options = renamed_options(values.get("method", ""), values.get("options", {}))
    return values | {"options": options, "figures": renamed_figures(values.get("figures", {}))}


def _versions() -> dict[str, str]:
    from samtailor import __version__

    libraries = {name: packages.version(name) for name in ("torch", "transformers", "accelerate", "safetensors")}
    return {"samtailor": __version__, "python": platform.python_version(), **libraries}


__all__ = [
    "CARD",
    "MEND",
    "METADATA",
    "SCHEMA",
    "SPLIT",
    "TENSORS",
    "AdapterMeta",
    "BaseReference",
    "CompanionReference",
    "DataReference",
    "describe",
    "read_meta",
]
