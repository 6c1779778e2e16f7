"""Checkpoint of a fit: one safetensors file with a JSON header, replaced atomically; no pickle.

Random numbers of a step are seeded with the number of the step (see `train.loop`), so a checkpoint stores no generator.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from samtailor.data.writing import check_seal, replacing, sealed
from samtailor.errors import ArtefactError
from samtailor.segmenter import Segmenter
from samtailor.structures.renames import renamed_tensors
from samtailor.train.validate import Validation

_SCHEMA = 1


@dataclass
class State:
    """State of a fit between two steps.

    Args:
        step: number of finished updates.
        history: "train" (mean losses since the previous entry) and "held_out" (validations), lists of dicts with
            "step".
        pending: sums of the losses since the last entry of "train", and their number "n".
        best: learnt tensors at the highest held-out figure; None before the first validation.
        best_step, best_miou: step and figure of the best state.
        masks_per_step: masks per update of all processes. The order of the data depends on it, so a resumed fit
            must have the same number.
        start_validation, best_validation: IoU of each held-out mask before the first step and at the best step.
    """

    step: int = 0
    history: dict[str, list[dict[str, float]]] = field(default_factory=lambda: {"train": [], "held_out": []})
    pending: dict[str, float] = field(default_factory=dict)
    best: dict[str, Tensor] | None = None
    best_step: int | None = None
    best_miou: float | None = None
    masks_per_step: int = 0
    start_validation: Validation | None = None
    best_validation: Validation | None = None


def save(
    path: Path, state: State, segmenter: Segmenter, optimizers: Mapping[str, Optimizer], scaler: Any = None
) -> None:
    """Write everything that the next step depends on. An interrupted call leaves the previous file intact."""
    tensors = {f"learned/{name}": tensor for name, tensor in segmenter.learned().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in (state.best or {}).items()}
    numbers: dict[str, dict[str, Any]] = {}
    for group, optimizer in optimizers.items():
        for index, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                name = f"optimizer/{group}/{index}/{key}"
                if isinstance(value, Tensor):
                    tensors[name] = value.detach().cpu().contiguous()
                else:
                    numbers[name] = value
    record = asdict(replace(state, best=None))
    del record["best"]
    header = {"schema": _SCHEMA, "state": record, "numbers": numbers, "scaler": scaler.state_dict() if scaler else None}
    header |= {"tensors": _checksums(tensors)}
    with replacing(path) as temporary:
        save_file(
            {k: t.clone() for k, t in tensors.items()}, temporary, metadata={"samtailor": json.dumps(sealed(header))}
        )
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


def load(path: Path, segmenter: Segmenter, optimizers: Mapping[str, Optimizer], scaler: Any = None) -> State:
    """Restore segmenter and optimizers from a checkpoint and return the state.

    Raises:
        ArtefactError: the file is damaged, or was written by another method or a newer samtailor.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["samtailor"])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        check_seal(header, path)
        if header.get("tensors") not in (None, _checksums(tensors)):  # None: checkpoints of 0.2
            raise ArtefactError(f"{path} is damaged (a checksum differs). Start again with --overwrite.")
        if header["schema"] > _SCHEMA:
            raise ArtefactError(
                f"{path} was written by a newer samtailor. Upgrade samtailor, or start again with --overwrite."
            )
        _restore(optimizers, _below(tensors, "optimizer/") | header["numbers"])
        segmenter.load_learned(renamed_tensors(_below(tensors, "learned/")))
        state = _state(header["state"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ArtefactError):
            raise
        raise ArtefactError(
            f"Cannot resume from {path}: {error}. It is damaged or belongs to another fit. "
            "Start again with --overwrite."
        ) from error
    if scaler is not None and header["scaler"]:
        scaler.load_state_dict(header["scaler"])
    state.best = renamed_tensors(_below(tensors, "best/")) if state.best_step is not None else None
    return state


def _checksums(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """CRC-32 of each tensor by name, hexadecimal."""
    return {
        name: f"{zlib.crc32(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data):08x}"
        for name, tensor in sorted(tensors.items())
        if tensor.numel()
    }


def _state(record: dict[str, Any]) -> State:
    """State from the JSON header; checkpoints of 0.1 have no validations."""
    for name in ("start_validation", "best_validation"):
        if record.get(name) is not None:
            record[name] = Validation(**{key: tuple(values) for key, values in record[name].items()})
    return State(**record)


def _restore(optimizers: Mapping[str, Optimizer], values: Mapping[str, Any]) -> None:
    for group, optimizer in optimizers.items():
        fresh = optimizer.state_dict()
        state: dict[int, dict[str, Any]] = {}
        for name, value in values.items():
            owner, index, key = name.removeprefix("optimizer/").split("/")
            if owner == group:
                state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": fresh["param_groups"]})


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


__all__ = ["State", "load", "save"]
