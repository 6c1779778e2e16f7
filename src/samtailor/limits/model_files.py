"""Checks of model files before transformers or torch builds anything from them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor.errors import DataError
from samtailor.limits import MALFORMED, hold, parse_json, read_bytes

if TYPE_CHECKING:
    from torch import Tensor

CODE_KEYS = frozenset({"auto_map", "custom_pipelines", "quantization_config", "trust_remote_code", "use_kernels"})
"""Fields of config.json that make transformers load code or other file formats."""
_ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
_PLAIN_ATTENTION = (None, "eager", "sdpa")
_INDEX = "model.safetensors.index.json"
_FACTOR = 4  # a model has at most this many times the parameters of its file: tied and derived ones are not in it


def read_model_config(file: Path) -> dict[str, Any]:
    """config.json of a model of transformers.

    Raises:
        DataError: not a JSON object, a field that loads code, or a size beyond the limits "width" and "layers".
    """
    config = parse_json(read_bytes(file, "metadata_bytes"), str(file), nested=True)
    if not isinstance(config, dict):
        raise DataError(f"{file}: expected a JSON object, got a {type(config).__name__}.")
    _check_config(config, str(file))
    return config


def check_model_folder(folder: Path) -> None:
    """Check config.json and the list of weights of a local folder.

    Raises:
        DataError: as `read_model_config`; a PEFT adapter beside the weights; a weights file outside the folder or not
            in safetensors format.
    """
    read_model_config(folder / "config.json")
    if (folder / "adapter_config.json").exists():
        raise DataError(f"{folder} has an adapter_config.json of PEFT. Merge that adapter into the model first.")
    index = folder / _INDEX
    if index.exists():
        content = parse_json(read_bytes(index, "metadata_bytes"), str(index), nested=True)
        shards = content.get("weight_map") if isinstance(content, dict) else None
        names = list(shards.values()) if isinstance(shards, dict) else [None]
        for name in names:
            if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
                raise DataError(f"{index}: expected names of .safetensors files in this folder, got {name!r}.")


def stored_numbers(folder: Path) -> int | None:
    """How many numbers the safetensors files of a folder hold; None if it has none or they are damaged."""
    total = 0
    files = sorted(folder.glob("*.safetensors"))
    for file in files:
        try:
            with file.open("rb") as stream:
                size = int.from_bytes(stream.read(8), "little")
                hold(size, "metadata_bytes", str(file))
                header = json.loads(stream.read(size))
            total += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
        except (OSError, *MALFORMED):
            return None  # the library that reads it names the damage
    return total if files else None


def check_size(declared: int, stored: int | None, what: str) -> None:
    """Raise DataError if a configuration declares a model that is much larger than its file."""
    if stored is not None and declared > _FACTOR * stored + 1_000_000:
        raise DataError(
            f"{what}: config.json declares a model of {declared:,} parameters, but the file holds {stored:,}."
        )


def refuse_not_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Raise DataError if a tensor has a value that is NaN or infinite: every prediction would be wrong."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or math.isfinite(float(tensor.float().sum())):
            continue
        bad = int((~tensor.float().isfinite()).sum())  # the sum of finite values may be infinite
        if bad:
            raise DataError(f"{what}: the tensor {name} has {bad:,} values that are NaN or infinite.")


_MODULES = ("layers", "blocks", "depth", "stages", "levels", "point_embeddings", "multimask_outputs", "mask_tokens")
"""Parts of the names of fields that are numbers of modules: building each of them takes time, also without memory."""


def _check_config(config: Mapping[str, Any], where: str) -> None:
    for key, value in config.items():
        if (key in CODE_KEYS and value) or (key in _ATTENTION and value not in _PLAIN_ATTENTION):
            raise DataError(f"{where}: the field {key!r} makes transformers load code, which samtailor does not run.")
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                _check_config(one, where)
            elif isinstance(one, int | float) and not isinstance(one, bool):
                layers = any(word in key for word in _MODULES)
                hold(abs(one), "layers" if layers else "width", f"{where}, {key}")


__all__ = [
    "CODE_KEYS",
    "check_model_folder",
    "check_size",
    "read_model_config",
    "refuse_not_finite",
    "stored_numbers",
]
