"""What the cache encodes images with: the encoder of a base, or a companion on the frame of a base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from samtailor.bases import Base
from samtailor.bases.companions import Companion, companion_maps
from samtailor.bases.encoder import fast_encoder
from samtailor.data.transform import Frame
from samtailor.errors import InputError
from samtailor.structures import Features

Shape = tuple[int, ...]
_encoders: WeakKeyDictionary[Base, tuple[torch.device, Base | None]] = WeakKeyDictionary()
_batches: WeakKeyDictionary[Base, dict[str, int]] = WeakKeyDictionary()
_BATCH, _LARGEST, _SHARE = 8, 32, 0.5
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class BaseEncoder:
    """The encoder of a base: the embedding, then the high-resolution features."""

    base: Base

    @property
    def key(self) -> str:
        """Identifies weights and preprocessing."""
        return self.base.fingerprint

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Of each level, without the batch axis."""
        base, grid = self.base, self.base.grid
        finer = [(channels, grid * scale) for channels, scale in zip(reversed(base.skips), (4, 2), strict=True)]
        return ((base.dim, grid, grid), *((channels, side, side) for channels, side in finer if channels))

    @property
    def failure(self) -> str:
        """The subject of an error message."""
        return "The image encoder"

    def __call__(self, frames: Tensor) -> Sequence[Tensor]:
        """Normalized frames (B, 3, size, size) to the levels."""
        made = prepared(self.base).encode_image(frames)
        return made.main, *made.skips


@dataclass(frozen=True)
class CompanionEncoder:
    """A companion on the frame of a base: its maps."""

    companion: Companion
    base: Base

    @property
    def key(self) -> str:
        """Identifies weights and preprocessing."""
        base = self.base  # its frame, not its weights
        return f"{self.companion.fingerprint}\0{base.size} {base.squash} {base.mean} {base.std}"

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Of each map, without the batch axis."""
        pairs = zip(self.companion.channels, self.companion.sides, strict=True)
        return tuple((channels, side, side) for channels, side in pairs)

    @property
    def failure(self) -> str:
        """The subject of an error message."""
        return f"The companion {self.companion.name!r}"

    def __call__(self, frames: Tensor) -> Sequence[Tensor]:
        """Normalized frames (B, 3, size, size) to the maps."""
        return companion_maps(self.companion, self.base, frames)


Encoder = BaseEncoder | CompanionEncoder


def encode(encoder: Encoder, images: Sequence[np.ndarray], precision: str = "fp32") -> list[Tensor]:
    """Levels in half precision on the CPU, each with B rows.

    Args:
        encoder: of a base or a companion.
        images: B uint8 RGB images (height, width, 3).
        precision: "fp32", or "bf16" or "fp16" for mixed precision.

    Raises:
        InputError: the encoder returns infinity or NaN.
    """
    base = encoder.base
    device = device_of(base)
    frames = torch.stack([Frame.of(base, *image.shape[:2]).image(image, base) for image in images])
    with torch.inference_mode(), _mixed(device, precision):
        made = [level.to("cpu", torch.float16) for level in encoder(frames.to(device))]
    levels = [level.clone() for level in made]  # inference tensors cannot enter autograd
    if not all(torch.isfinite(level).all() for level in levels):
        cause = "" if precision == "fp32" else f" Try encoder_precision: fp32 (it is {precision})."
        raise InputError(
            f"{encoder.failure} returned infinity or NaN (in half precision). Its weights are not usable.{cause}"
        )
    return levels


def encode_image(base: Base, frames: Tensor, precision: str = "fp32") -> Features:
    """Features in full precision: by the vendor's own forward, or by the cheaper encoder in mixed precision.

    Args:
        base: whose encoder it is.
        frames: normalized (B, 3, size, size), on the device of the base.
        precision: as in `encode`.
    """
    if precision == "fp32":
        return base.encode_image(frames)
    with torch.no_grad(), _mixed(frames.device, precision):
        return prepared(base).encode_image(frames).apply(Tensor.float)


def _mixed(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, _AUTOCAST.get(precision), enabled=precision in _AUTOCAST)


def batch_size(base: Base, precision: str = "fp32") -> int:
    """Images per encoder pass: 1 on a CPU, as many as the free memory of a GPU holds, 8 on other devices.

    The memory that one image takes is measured once for each base on a GPU.

    Args:
        base: on its device.
        precision: as in `encode`.
    """
    device = device_of(base)
    if device.type != "cuda":
        return 1 if device.type == "cpu" else _BATCH
    known = _batches.setdefault(base, {})
    if precision not in known:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        encode_image(base, torch.zeros(1, 3, base.size, base.size, device=device), precision)
        each = torch.cuda.max_memory_allocated(device) - before
        known[precision] = fitting_batch(torch.cuda.mem_get_info(device)[0], each)
    return known[precision]


def fitting_batch(free: int, each: int) -> int:
    """Images that half of the free memory holds, at least 1 and at most 32, a power of two.

    Args:
        free: bytes.
        each: bytes that one image takes.
    """
    count = min(max(int(_SHARE * free / max(each, 1)), 1), _LARGEST)
    return 1 << (count.bit_length() - 1)


def prepared(base: Base) -> Base:
    """The encoder of a base, prepared once per device and kept as long as the base."""
    device, cached = device_of(base), _encoders.get(base)
    if cached is None or cached[0] != device:
        # it keeps products of weights, which must be neither inference tensors nor in the precision of a caller
        with torch.inference_mode(False), torch.autocast(device.type, enabled=False):
            made = fast_encoder(base)
        # a value that refers to its own key would never be released
        cached = _encoders[base] = device, None if made is base else made
    return base if cached[1] is None else cached[1]


def device_of(base: Base) -> torch.device:
    """The device of a base."""
    return next(base.model.parameters()).device


__all__ = [
    "BaseEncoder",
    "CompanionEncoder",
    "Encoder",
    "batch_size",
    "device_of",
    "encode",
    "encode_image",
    "fitting_batch",
    "prepared",
]
