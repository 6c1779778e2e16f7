"""Write an adapter to a folder, and load one strictly onto the base that it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.artefact.hub import folder_of
from samtailor.artefact.metadata import CARD, MEND, METADATA, TENSORS, AdapterMeta, read_meta
from samtailor.artefact.model_card import card
from samtailor.data.strict_files import digest, read_tensors
from samtailor.errors import ArtefactError, BaseUnavailableError, InputError
from samtailor.limits import hold
from samtailor.structures.renames import renamed_tensors

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.segmenter import Segmenter


@dataclass(frozen=True)
class Adapter:
    """A loaded adapter.

    Args:
        segmenter: in evaluation mode, on the device of the base.
        meta: contents of adapter.json.
        folder: folder of its files and of its proposals; for an adapter of the hub, the local copy.
    """

    segmenter: Segmenter
    meta: AdapterMeta
    folder: Path


def save(folder: str | Path, segmenter: Segmenter, meta: AdapterMeta) -> AdapterMeta:
    """Write an adapter to a folder, each file atomically and adapter.json last; returns the metadata as written.

    An existing adapter is replaced. While it is being replaced the digest differs, so the folder does not load.
    """
    from safetensors.torch import save_file

    from samtailor.data.writing import replacing, sealed, write_json

    folder = Path(folder)
    with replacing(folder / TENSORS) as temporary:
        # one key only: safetensors writes several keys in random order, and equal adapters should be equal files
        save_file(segmenter.learned(), temporary, metadata={"format": "pt"})
        meta = meta.model_copy(update={"sha256": digest(temporary)})
    with replacing(folder / CARD) as temporary:
        temporary.write_text(card(meta), encoding="utf-8")
    write_json(folder / METADATA, sealed(meta.model_dump(mode="json")))
    return meta


def update(folder: str | Path, **fields: Any) -> AdapterMeta:
    """Replace fields of adapter.json (`AdapterMeta`), and the model card; returns the metadata as written."""
    from samtailor.data.writing import replacing, sealed, write_json

    folder = Path(folder)
    meta = read_meta(folder).model_copy(update=fields)
    with replacing(folder / CARD) as temporary:
        temporary.write_text(card(meta), encoding="utf-8")
    write_json(folder / METADATA, sealed(meta.model_dump(mode="json")))
    return meta


def load(source: str | Path, base: Base | None = None, *, revision: str | None = None, token: Any = None) -> Adapter:
    """Load an adapter, and its base unless one is given.

    Args:
        source: folder, or hub id.
        base: a loaded base; None loads the base named in adapter.json.
        revision, token: see huggingface_hub.

    Raises:
        ArtefactError: no adapter there, another base, an extra or missing tensor, a damaged or newer file.
        BaseUnavailableError: the base cannot be loaded.
    """
    folder = folder_of(source, revision=revision, token=token)
    meta = read_meta(folder)
    tensors = read_tensors(folder / TENSORS, mend=MEND)
    if base is None:
        from samtailor.bases import load_base

        base = load_base(meta.base.name)
    if base.fingerprint != meta.base.fingerprint:
        from samtailor.bases import retired_base

        todo = retired_base(meta.base.name, meta.base.fingerprint) or "Load it with its base, or fit it again."
        raise ArtefactError(
            f"The adapter {source} was fitted on the base {meta.base.name!r} (fingerprint {meta.base.fingerprint}), "
            f"not on {base.name!r} (fingerprint {base.fingerprint}). {todo}"
        )
    segmenter = _rebuild(source, meta, base)
    _check_companion(source, meta, segmenter)
    try:
        segmenter.load_learned(renamed_tensors(tensors))
    except InputError as error:
        raise ArtefactError(f"{folder / TENSORS} does not fit the method {meta.method!r}. {error}") from error
    if digest(folder / TENSORS) != meta.sha256:
        raise ArtefactError(
            f"{folder / TENSORS} does not match {METADATA} (its digest differs): it was damaged or replaced. {MEND}"
        )
    return Adapter(segmenter.to(next(base.model.parameters()).device).eval(), meta, folder)


def from_pretrained(
    source: str | Path, base: Base | None = None, *, revision: str | None = None, token: Any = None
) -> Adapter:
    """Same as `load`, under the usual name of the hub."""
    return load(source, base, revision=revision, token=token)


def base_of(source: str | Path, *, revision: str | None = None, token: Any = None) -> str:
    """Name of the base model of an adapter."""
    return read_meta(folder_of(source, revision=revision, token=token)).base.name


def _rebuild(source: str | Path, meta: AdapterMeta, base: Base) -> Segmenter:
    from samtailor.registry import find

    try:
        for name, value in meta.options.items():
            if isinstance(value, int | float):
                hold(abs(value), "width", f"{METADATA}, option {name}")
        segmenter = find("methods", meta.method).build(base, **meta.options)[0]
    except (MemoryError, BaseUnavailableError):
        raise
    except Exception as error:  # options of a damaged file fail anywhere in the method
        raise ArtefactError(
            f"The adapter {source} cannot be rebuilt: {str(error)[:300]} Use the version of samtailor that saved it."
        ) from error
    segmenter.inference = meta.inference
    return segmenter


def _check_companion(source: str | Path, meta: AdapterMeta, segmenter: Segmenter) -> None:
    """Raise unless the segmenter reads the companion that the adapter was fitted with."""
    wanted = None if meta.companion is None else meta.companion.fingerprint
    present = None if segmenter.companion is None else segmenter.companion.fingerprint
    if wanted == present:
        return
    name = meta.companion.name if meta.companion is not None else "none"
    raise ArtefactError(
        f"The adapter {source} was fitted with the companion {name!r} (fingerprint {wanted or 'none'}), but its "
        f"weights here have the fingerprint {present or 'none'}. Put the same weights there, or fit the adapter again."
    )


__all__ = ["Adapter", "base_of", "from_pretrained", "load", "save", "update"]
