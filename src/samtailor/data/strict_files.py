"""Strict reading of the metadata and tensors of adapters, proposals and baselines.

Every problem of a file raises an `ArtefactError`, with `mend` as its last sentence. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from samtailor.data.writing import SEAL, check_seal
from samtailor.errors import ArtefactError, DataError, InputError
from samtailor.limits import MALFORMED, parse_json, read_bytes
from samtailor.limits.model_files import refuse_not_finite

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
    """Read a JSON file as `model`.

    Args:
        file: the file.
        model: class with a field `schema_version`.
        schema: highest supported schema version.
        absent: message if the file does not exist.
        mend: advice for a damaged file, a sentence.
        upgrade: converts the values of an earlier version to the current one.

    Raises:
        ArtefactError: the file is missing, damaged, or of a newer version of samtailor.
    """
    if not file.exists():
        raise ArtefactError(absent)
    try:
        values = parse_json(read_bytes(file, "metadata_bytes"), str(file), nested=True)
        version = values["schema_version"]
    except DataError as error:
        raise ArtefactError(f"{error} {mend}") from error
    except MALFORMED as error:
        raise ArtefactError(f"{file} is damaged ({error!r}). {mend}") from error
    if not isinstance(version, int) or isinstance(version, bool) or not 0 < version <= schema:
        raise ArtefactError(
            f"{file} has schema {version!r:.40}, but this samtailor reads 1 to {schema}. Upgrade samtailor. {mend}"
        )
    plain = {key: value for key, value in values.items() if key != SEAL}
    try:
        read = model(**(plain if upgrade is None else upgrade(plain, version)))
        check_seal(values, file)  # last: what is wrong is more helpful than that something is
        return read
    except DataError as error:
        raise ArtefactError(f"{error} {mend}") from error
    except ValidationError as error:
        wrong = sorted({".".join(map(str, e["loc"])) for e in error.errors()})
        more = ", ..." if len(wrong) > 10 else ""
        raise ArtefactError(f"{file} is damaged: invalid {', '.join(wrong[:10])}{more}. {mend}") from error
    except (InputError, *MALFORMED) as error:
        raise ArtefactError(f"{file} is damaged ({error}). {mend}") from error


def read_tensors(file: Path, *, mend: str) -> dict[str, Tensor]:
    """Read a safetensors file to the CPU.

    Raises:
        ArtefactError: the file is missing, truncated or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise ArtefactError(f"{file} is missing. {mend}")
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError, *MALFORMED) as error:
        raise ArtefactError(f"{file} is truncated or damaged ({error}). {mend}") from error
    try:
        refuse_not_finite(tensors, str(file))
    except DataError as error:
        raise ArtefactError(f"{error} {mend}") from error
    return tensors


def digest(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    hasher = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


__all__ = ["digest", "read_metadata", "read_tensors"]
