"""An adapter written into a folder, and read from one: strictly, onto the base that it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.artefact.hub import folder_of
from samtailor.artefact.metadata import CARD, MEND, METADATA, TENSORS, AdapterMeta, read_meta
from samtailor.artefact.model_card import card
from samtailor.data.strict_files import digest, read_tensors
from samtailor.errors import ArtefactError, InputError
from samtailor.structures.renames import renamed_tensors

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.segmenter import Segmenter


@dataclass(frozen=True)
class Adapter:
    """A loaded adapter.

    Args:
        segmenter: ready to use (evaluation mode, on the base's device).
        meta: tells about it.
        folder: that it was read from, where its proposals are too; of the hub's, the copy on this machine.
    """

    segmenter: Segmenter
    meta: AdapterMeta
    folder: Path


def save(folder: str | Path, segmenter: Segmenter, meta: AdapterMeta) -> AdapterMeta:
    """Write an adapter into a folder, each file at once, adapter.json last; returns the metadata as written.

    An adapter that was there is replaced. Between its first and last file the folder does not load (the digest
    differs), it never loads as something else.
    """
    from safetensors.torch import save_file

    from samtailor.data.image import replacing, write_json

    folder = Path(folder)
    with replacing(folder / TENSORS) as temporary:
        # one key only: safetensors writes several in random order, and equal adapters should be equal files
        save_file(segmenter.learned(), temporary, metadata={"format": "pt"})
        meta = meta.model_copy(update={"sha256": digest(temporary)})
    with replacing(folder / CARD) as temporary:
        temporary.write_text(card(meta), encoding="utf-8")
    write_json(folder / METADATA, meta.model_dump(mode="json"))
    return meta


def load(source: str | Path, base: Base | None = None, *, revision: str | None = None, token: Any = None) -> Adapter:
    """Load an adapter and, unless it is given, its base.

    Args:
        source: folder, or hub id.
        base: the base to stand on; None loads the one that the adapter names.
        revision, token: as huggingface_hub has them.

    Raises:
        ArtefactError: no adapter there, another base, an extra or missing tensor, a damaged or newer file.
        BaseUnavailableError: the base cannot be had.
    """
    folder = folder_of(source, revision=revision, token=token)
    meta = read_meta(folder)
    tensors = read_tensors(folder / TENSORS, mend=MEND)
    if base is None:
        from samtailor.bases import load_base

        base = load_base(meta.base.name)
    if base.fingerprint != meta.base.fingerprint:
        raise ArtefactError(
            f"The adapter {source} was fitted on the base {meta.base.name!r} (fingerprint {meta.base.fingerprint}), "
            f"not on {base.name!r} (fingerprint {base.fingerprint}). Load it with its own base, or fit it again."
        )
    segmenter = _rebuild(source, meta, base)
    try:
        segmenter.load_learned(renamed_tensors(tensors))
    except InputError as error:
        raise ArtefactError(f"{folder / TENSORS} does not fit the method {meta.method!r}. {error}") from error
    if digest(folder / TENSORS) != meta.sha256:
        raise ArtefactError(
            f"{folder / TENSORS} is not the file that {METADATA} belongs to (its digest differs): it was damaged or "
            "exchanged. Copy the adapter again, or fit it again."
        )
    return Adapter(segmenter.to(next(base.model.parameters()).device).eval(), meta, folder)


def from_pretrained(
    source: str | Path, base: Base | None = None, *, revision: str | None = None, token: Any = None
) -> Adapter:
    """`load`, under the name that the hub's users look for."""
    return load(source, base, revision=revision, token=token)


def base_of(source: str | Path, *, revision: str | None = None, token: Any = None) -> str:
    """Name of the base that an adapter was fitted on."""
    return read_meta(folder_of(source, revision=revision, token=token)).base.name


def _rebuild(source: str | Path, meta: AdapterMeta, base: Base) -> Segmenter:
    from samtailor.registry import find

    try:
        segmenter = find("methods", meta.method).build(base, **meta.options)[0]
    except (InputError, TypeError) as error:
        raise ArtefactError(f"The adapter {source} cannot be rebuilt: {error} Is it of another samtailor?") from error
    segmenter.inference = meta.inference
    return segmenter


__all__ = ["Adapter", "base_of", "from_pretrained", "load", "save"]
