"""State of a fit on disk: one safetensors file with a JSON header, replaced at once; no pickle.

What is random in a step is seeded by the step's number (see `train.loop`), so that a checkpoint holds no generators.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from samtailor.data.image import replacing
from samtailor.errors import ArtefactError
from samtailor.segmenter import Segmenter

_SCHEMA = 1


@dataclass
class State:
    """What a fit knows of itself between two steps.

    Args:
        step: updates done.
        history: "train" (mean losses since the entry before) and "held_out" (validations), each a list of dicts
            with "step".
        pending: sums of the losses since the last entry of "train", and their number "n".
        best: what was learnt when held-out mIoU was highest; None before the first validation.
        best_step, best_miou: its place and figure.
        masks_per_step: masks that all processes take in an update; data would come in another order with another.
    """

    step: int = 0
    history: dict[str, list[dict[str, float]]] = field(default_factory=lambda: {"train": [], "held_out": []})
    pending: dict[str, float] = field(default_factory=dict)
    best: dict[str, Tensor] | None = None
    best_step: int | None = None
    best_miou: float | None = None
    masks_per_step: int = 0


def save(
    path: Path, state: State, segmenter: Segmenter, optimizers: Mapping[str, Optimizer], scaler: Any = None
) -> None:
    """Write everything that the next step depends on; either the old or the new file is there, never half of one."""
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
    record = {name: value for name, value in vars(state).items() if name != "best"}
    header = {"schema": _SCHEMA, "state": record, "numbers": numbers, "scaler": scaler.state_dict() if scaler else None}
    with replacing(path) as temporary:
        save_file({k: t.clone() for k, t in tensors.items()}, temporary, metadata={"samtailor": json.dumps(header)})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


def load(path: Path, segmenter: Segmenter, optimizers: Mapping[str, Optimizer], scaler: Any = None) -> State:
    """The inverse of `save`: puts segmenter and optimisers back, returns the state.

    Raises:
        ArtefactError: the file is damaged, or belongs to another method or a newer samtailor.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["samtailor"])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if header["schema"] > _SCHEMA:
            raise ArtefactError(
                f"{path} was written by a newer samtailor; upgrade it, or start again with --overwrite."
            )
        _restore(optimizers, _below(tensors, "optimizer/") | header["numbers"])
        segmenter.load_learned(_below(tensors, "learned/"))
        state = State(**header["state"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ArtefactError):
            raise
        raise ArtefactError(
            f"{path} cannot be resumed from: {error}. It is damaged or of another fit; start again with --overwrite."
        ) from error
    if scaler is not None and header["scaler"]:
        scaler.load_state_dict(header["scaler"])
    state.best = _below(tensors, "best/") if state.best_step is not None else None
    return state


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
