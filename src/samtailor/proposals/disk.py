"""Proposals on disk, inside an adapter's folder: proposals.safetensors and proposals.json.

proposals.json is written last and holds the digest of the tensors. Loading is strict, as for adapters: another base, a
missing or unknown tensor, a damaged file or a newer format is an `ArtefactError`.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

from samtailor.adapters.pyramid import CompanionMaps
from samtailor.bases import Base
from samtailor.bases.companions import Companion, load_companion
from samtailor.data.strict_files import digest, read_metadata, read_tensors
from samtailor.data.writing import replacing, sealed, write_json
from samtailor.errors import ArtefactError, DataError, InputError
from samtailor.limits import MALFORMED, hold
from samtailor.limits.model_files import check_size
from samtailor.proposals import Proposals
from samtailor.proposals.head import Head, Heads

SCHEMA = 1
TENSORS, METADATA = "proposals.safetensors", "proposals.json"
_MEND = "Copy the adapter again, or train the proposals again."


class CompanionReference(BaseModel):
    """The companion of the proposals: name to load and fingerprint to check."""

    model_config = ConfigDict(frozen=True)

    name: str
    fingerprint: str


class ProposalsMeta(BaseModel):
    """proposals.json: the arguments of `Head` and `Proposals`, and the digest of the tensors."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA
    classes: tuple[str, ...]
    base: str
    base_name: str
    dim: int
    skips: tuple[int, ...]
    width: int
    give: str
    tiles: int = 1
    heads: int = 1
    companion: CompanionReference | None = None
    calibration: dict[str, tuple[float, float]]
    thresholds: dict[str, float]
    figures: dict[str, object] = {}
    sha256: str = ""


def exists(folder: str | Path) -> bool:
    """Whether a folder has proposals."""
    return (Path(folder) / METADATA).is_file()


def save(folder: str | Path, proposals: Proposals) -> None:
    """Write both files, each atomically, the metadata last."""
    from safetensors.torch import save_file

    folder, head, companion = Path(folder), proposals.head, proposals.companion
    with replacing(folder / TENSORS) as temporary:
        tensors = {name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}
        save_file(tensors, temporary, metadata={"format": "pt"})
        sha256 = digest(temporary)
    meta = ProposalsMeta(
        classes=proposals.classes,
        base=proposals.base,
        base_name=proposals.base_name,
        dim=head.dim,
        skips=tuple(head.skips),
        width=head.width,
        give=proposals.give,
        tiles=proposals.tiles,
        heads=len(head.members) if isinstance(head, Heads) else 1,
        companion=None
        if companion is None
        else CompanionReference(name=companion.name, fingerprint=companion.fingerprint),
        calibration=proposals.calibration,
        thresholds=proposals.thresholds,
        figures=proposals.figures,
        sha256=sha256,
    )
    write_json(folder / METADATA, sealed(meta.model_dump(mode="json")))


def remove(folder: str | Path) -> None:
    """Delete the proposals of a folder, if there are any; the metadata first."""
    for name in (METADATA, TENSORS):
        (Path(folder) / name).unlink(missing_ok=True)


def load(folder: str | Path, base: Base) -> Proposals:
    """Load proposals onto the device of the base.

    Raises:
        ArtefactError: there are none, they are of another base, or a file is damaged.
    """
    meta = read_meta(folder)
    file = Path(folder) / TENSORS
    if meta.base != base.fingerprint:
        raise ArtefactError(
            f"The proposals in {folder} were trained on the embeddings of another base (fingerprint {meta.base}), "
            f"not of {base.name!r} ({base.fingerprint}). Train them again: "
            f"samtailor propose-fit DATA --adapter {folder}."
        )
    companion = _companion(folder, meta, base)
    tensors = read_tensors(file, mend=_MEND)
    try:
        for name, value in (("dim", meta.dim), ("width", meta.width), ("tiles", meta.tiles), *_counts(meta)):
            hold(value, "width", f"{Path(folder) / METADATA}, {name}")
        shape = meta.dim, meta.skips, len(meta.classes), meta.width, CompanionMaps.of(companion, base)
        with torch.device("meta"):
            declared = meta.heads * sum(value.numel() for value in Head(*shape).state_dict().values())
        check_size(declared, sum(value.numel() for value in tensors.values()), str(folder))
        head = Head(*shape) if meta.heads == 1 else Heads([Head(*shape) for _ in range(meta.heads)])
    except (InputError, DataError, RuntimeError, *MALFORMED) as error:
        raise ArtefactError(f"{Path(folder) / METADATA} is damaged ({str(error)[:300]}). {_MEND}") from error
    try:
        head.load_state_dict(tensors)
    except RuntimeError as error:
        raise ArtefactError(f"{file} does not fit {METADATA} ({str(error).splitlines()[0]}). {_MEND}") from error
    if digest(file) != meta.sha256:
        raise ArtefactError(f"{file} and {METADATA} do not belong together (the digest differs). {_MEND}")
    head = head.to(next(base.model.parameters()).device)
    return _proposals(folder, head, meta, companion)


def _counts(meta: ProposalsMeta) -> list[tuple[str, int]]:
    return [("heads", meta.heads), ("classes", len(meta.classes)), *(("skips", skip) for skip in meta.skips)]


def _proposals(folder: str | Path, head: Head | Heads, meta: ProposalsMeta, companion: Companion | None) -> Proposals:
    values = [*meta.thresholds.values(), *(number for pair in meta.calibration.values() for number in pair)]
    named = set(meta.thresholds) == set(meta.classes) and set(meta.calibration) <= set(meta.classes)
    if (
        not named
        or not all(map(math.isfinite, values))
        or len(set(meta.classes)) != len(meta.classes)
        or meta.tiles < 1
    ):
        raise ArtefactError(
            f"{Path(folder) / METADATA} is damaged: thresholds and calibration must be finite and of its classes, each "
            f"class must be named once, and tiles must be at least 1. {_MEND}"
        )
    try:
        return _made(head, meta, companion)
    except InputError as error:
        raise ArtefactError(f"{Path(folder) / METADATA} is damaged ({error}). {_MEND}") from error


def _made(head: Head | Heads, meta: ProposalsMeta, companion: Companion | None) -> Proposals:
    return Proposals(
        head,
        meta.classes,
        meta.base,
        base_name=meta.base_name,
        calibration=meta.calibration,
        thresholds=meta.thresholds,
        give=meta.give,
        tiles=meta.tiles,
        figures=meta.figures,
        companion=companion,
    )


def _companion(folder: str | Path, meta: ProposalsMeta, base: Base) -> Companion | None:
    """The companion of the proposals, on the device of the base."""
    if meta.companion is None:
        return None
    companion = load_companion(meta.companion.name, next(base.model.parameters()).device)
    if companion is None or companion.fingerprint != meta.companion.fingerprint:
        loaded = "none" if companion is None else companion.fingerprint
        raise ArtefactError(
            f"The proposals in {folder} read the companion {meta.companion.name!r} with other weights (fingerprint "
            f"{meta.companion.fingerprint}) than are present (fingerprint {loaded}). Put these weights back, or train "
            f"the proposals again: samtailor propose-fit DATA --adapter {folder}."
        )
    return companion


def read_meta(folder: str | Path) -> ProposalsMeta:
    """proposals.json of a folder.

    Raises:
        ArtefactError: there is none, it is damaged, or it is of a newer samtailor.
    """
    return read_metadata(
        Path(folder) / METADATA,
        ProposalsMeta,
        SCHEMA,
        absent=f"{folder} has no proposals. Train them: samtailor propose-fit DATA --adapter {folder}.",
        mend=_MEND,
    )


__all__ = ["METADATA", "TENSORS", "ProposalsMeta", "exists", "load", "read_meta", "remove", "save"]
