"""The file of one embedding: safetensors, in half precision or in 8 bits, with a checksum in its header.

8 bits: each channel of each level is stored as 256 equal steps between its smallest and its largest value,
x = low + step * code. The error of a value is at most half a step, 1/510 of the range of its channel in its image.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

Precision = Literal["half", "8bit"]
_STEPS = 255
_LEVEL = re.compile(r"main|skip\d+")


def stored(levels: Sequence[Tensor], precision: Precision) -> dict[str, Tensor]:
    """Tensors of an entry by name.

    Args:
        levels: each (C, h, w), half precision.
        precision: "half", or "8bit", which adds the smallest value and the step of each channel.
    """
    names = ("main", *(f"skip{i}" for i in range(len(levels) - 1)))
    if precision == "half":
        return {name: level.contiguous() for name, level in zip(names, levels, strict=True)}
    tensors = {}
    for name, level in zip(names, levels, strict=True):
        values = level.float()
        low, high = values.amin((1, 2)), values.amax((1, 2))
        step = (high - low) / _STEPS
        codes = (values - low[:, None, None]) / step.clamp(min=1e-12)[:, None, None]
        tensors[name] = codes.round().clamp(0, _STEPS).to(torch.uint8).contiguous()
        tensors[f"{name}.low"], tensors[f"{name}.step"] = low, step
    return tensors


def restored(tensors: dict[str, Tensor]) -> list[Tensor]:
    """Levels of an entry: half precision as it was stored, or float32 from 8 bits."""
    names = sorted((name for name in tensors if _LEVEL.fullmatch(name)), key=_place)
    return [_level(tensors, name) for name in names]


def write(path: Path, tensors: dict[str, Tensor], base: str) -> None:
    """Write an entry; `base` is the fingerprint of its base."""
    save_file(tensors, path, metadata={"crc32": checksum(tensors), "base": base})


def read(path: Path, *, check: bool) -> dict[str, Tensor]:
    """Tensors of an entry, memory-mapped.

    Args:
        path: the file.
        check: compare the checksum.

    Raises:
        FileNotFoundError: there is none.
        SafetensorError, OSError, ValueError: it is damaged.
    """
    with safe_open(path, framework="pt") as entry:
        tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118
        expected = (entry.metadata() or {}).get("crc32")
    if check and expected != checksum(tensors):
        raise SafetensorError("checksum differs")
    return tensors


def checksum(tensors: dict[str, Tensor]) -> str:
    """CRC-32 of all tensors, hexadecimal."""
    value = 0
    for name in sorted(tensors, key=_place):
        value = zlib.crc32(tensors[name].contiguous().numpy().data, value)
    return f"{value:08x}"


def size(shapes: Sequence[tuple[int, ...]], precision: Precision) -> int:
    """Bytes of an entry with levels of these shapes (C, h, w), without its header of about 500 bytes."""
    numbers = sum(channels * height * width for channels, height, width in shapes)
    if precision == "half":
        return 2 * numbers
    return numbers + 8 * sum(channels for channels, _, _ in shapes)


def _place(name: str) -> tuple[int, str]:
    """Order of the tensors: "main" first, then the other levels, each followed by its low and step."""
    level, _, part = name.partition(".")
    return (-1 if level == "main" else int(level[4:]) if level.startswith("skip") else 10**6), part


def _level(tensors: dict[str, Tensor], name: str) -> Tensor:
    level = tensors[name]
    if level.dtype != torch.uint8:
        return level
    low, step = (tensors[f"{name}.{part}"][:, None, None] for part in ("low", "step"))
    return torch.addcmul(low, level.float(), step)


__all__ = ["Precision", "checksum", "read", "restored", "size", "stored", "write"]
