"""Metadata and tensors that belong together on disk, read strictly: what adapters, proposals and baselines share.

Everything that is wrong with a file is an `ArtefactError`; `mend` says in each what to do. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from samtailor.errors import ArtefactError

if TYPE_CHECKING:
    from torch import Tensor

Meta = TypeVar("Meta", bound=BaseModel)


def read_metadata(
    file: Path,
    model: type[Meta],
    schema: int,
    *,
    absent: str,
    mend: str,
    upgrade: Callable[[dict[str, Any], int], dict[str, Any]] | None = None,
) -> Meta:
    """A JSON file as `model`.

    Args:
        file: to read.
        model: has a field `schema_version`.
        schema: highest version that this samtailor reads.
        absent: what is said where there is no such file.
        mend: what to do about a damaged one, a sentence.
        upgrade: brings the values of an earlier version to the present one.

    Raises:
        ArtefactError: not there, damaged, or of a newer samtailor.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        version = values["schema_version"]
    except FileNotFoundError as error:
        raise ArtefactError(absent) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{file} is damaged ({error!r}). {mend}") from error
    if not isinstance(version, int) or version > schema:
        raise ArtefactError(f"{file} has schema {version}, this samtailor reads up to {schema}: upgrade samtailor.")
    try:
        return model(**(values if upgrade is None else upgrade(values, version)))
    except ValidationError as error:
        wrong = ", ".join(sorted({".".join(map(str, e["loc"])) for e in error.errors()}))
        raise ArtefactError(f"{file} is damaged: {wrong} cannot be read. {mend}") from error


def read_tensors(file: Path, *, mend: str) -> dict[str, Tensor]:
    """A safetensors file, on the CPU.

    Raises:
        ArtefactError: not there, cut off or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except FileNotFoundError as error:
        raise ArtefactError(f"{file} is missing. {mend}") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtefactError(f"{file} is cut off or damaged ({error}). {mend}") from error


def digest(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()


__all__ = ["digest", "read_metadata", "read_tensors"]
