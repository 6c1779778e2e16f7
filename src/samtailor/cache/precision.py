"""Precision of the image encoder: `auto` takes mixed precision where the hardware has it and the masks stay the same.

Whether they stay the same is measured once for each base model and machine, on synthetic images with known masks and
one click for each object: mIoU with the encoder in mixed precision must differ by less than `LIMIT` from that in full
precision. The result is kept in the cache folder of the user.
"""

from __future__ import annotations

import hashlib
import logging
import math
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import torch

from samtailor.bases import Base
from samtailor.cache.encoders import device_of, encode_image
from samtailor.cache.folder import default_root
from samtailor.data.listing import read_json
from samtailor.data.synth.samples import samples
from samtailor.data.transform import Frame
from samtailor.data.writing import write_json
from samtailor.errors import DataError, InputError
from samtailor.masks import interior
from samtailor.masks.metrics import iou
from samtailor.structures import Prompts, Sample

EncoderPrecision = Literal["fp32", "bf16", "fp16", "auto"]
FULL: Final = "fp32"
AUTO: Final = "auto"
LIMIT = 0.2
"""Largest change of mIoU, points, below which `auto` takes mixed precision."""
_IMAGES, _OBJECTS, _SIDE, _VERSION = 4, 12, 256, 1
_SMALL, _MORE = 512, 16  # bases of at most this side encode fast: more images make the estimate more precise
_log = logging.getLogger("samtailor.cache.precision")
_resolved: dict[str, EncoderPrecision] = {}
_resolving = threading.Lock()


@dataclass(frozen=True)
class Deviation:
    """What an encoder in mixed precision changes.

    Args:
        precision: "bf16" or "fp16".
        objects: number of clicked objects.
        change: mIoU in mixed precision minus mIoU in full precision, points.
        agreement: mean IoU of the masks of both, percent.
    """

    precision: str
    objects: int
    change: float
    agreement: float

    @property
    def accepted(self) -> bool:
        """Whether `auto` takes this precision."""
        return abs(self.change) < LIMIT


def hardware_precision(device: torch.device) -> EncoderPrecision:
    """The mixed precision that a device has instructions for: "bf16", "fp16", or "fp32" where there is none."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type != "cpu":
        return FULL
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return "bf16" if any(check() for check in checks if check is not None) else FULL


def resolve(base: Base, precision: str) -> EncoderPrecision:
    """A precision for the encoder of a base: "auto" becomes what this machine and this base are best served with.

    What was decided is logged once.

    Args:
        base: on its final device.
        precision: one of `EncoderPrecision`.

    Raises:
        InputError: another precision.
    """
    known: tuple[EncoderPrecision, ...] = get_args(EncoderPrecision)
    if precision not in known:
        expected = ", ".join(known)
        raise InputError(f"The precision of the encoder must be one of {expected}, got {precision!r}.")
    if precision != AUTO:
        return known[known.index(precision)]
    device = device_of(base)
    key = f"{base.fingerprint} {device}"
    with _resolving:
        if key not in _resolved:
            _resolved[key] = _decide(base, device)
    return _resolved[key]


def measure(base: Base, precision: str) -> Deviation:
    """Compare the masks of both encoders on synthetic images.

    Args:
        base: on its device.
        precision: "bf16" or "fp16".
    """
    true: list[np.ndarray] = []
    full: list[np.ndarray] = []
    mixed: list[np.ndarray] = []
    for sample in samples(_MORE if base.size <= _SMALL else _IMAGES, 11, kind="scenes", size=(_SIDE, _SIDE)):
        objects = [one.mask for one in sample.of(None)[:_OBJECTS]]
        true += objects
        full += _predicted(base, sample, objects, FULL)
        mixed += _predicted(base, sample, objects, precision)
    before, after, same = (
        100 * float(np.mean([_overlap(a, b) for a, b in zip(masks, others, strict=True)]))
        for masks, others in ((full, true), (mixed, true), (full, mixed))
    )
    return Deviation(precision, len(true), round(after - before, 4), round(same, 4))


@torch.no_grad()
def _predicted(base: Base, sample: Sample, objects: list[np.ndarray], precision: str) -> list[np.ndarray]:
    """The best mask for one click at the center of each object."""
    image, device = sample.image, device_of(base)
    frame = Frame.of(base, *image.shape[:2])
    features = encode_image(base, frame.image(image, base)[None].to(device), precision)
    points = torch.tensor([interior.center(mask) for mask in objects], dtype=torch.float32).reshape(1, -1, 1, 2)
    prompts = Prompts(image.shape[:2], points=points, labels=torch.ones(points.shape[:3], dtype=torch.int64))
    output = base.decode(features, base.encode_prompts(frame.prompts(prompts).to(device)))
    return list((frame.logits(output.best_masks()[1])[0] > 0).cpu().numpy())


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """IoU; 1 for two empty masks."""
    return 1.0 if not one.any() and not other.any() else iou(one, other)


def _decide(base: Base, device: torch.device) -> EncoderPrecision:
    precision = hardware_precision(device)
    if precision == FULL:
        _log.warning("precision auto: fp32, since this machine has no faster precision for the encoder.")
        return FULL
    file = _file(base, device, precision)
    deviation = _kept(file, precision)
    if deviation is None:
        deviation = measure(base, precision)
        try:
            write_json(file, asdict(deviation))
        except OSError as error:
            _log.debug("The deviation could not be kept in %s: %s", file, error)
    chosen = precision if deviation.accepted else FULL
    _log.warning(
        "precision auto: %s. In %s the mIoU of %s masks of synthetic images changes by %+.2f points (limit %s), and "
        "the masks agree to %.2f %%.",
        *(chosen, precision, deviation.objects, deviation.change, LIMIT, deviation.agreement),
    )
    return chosen


def _file(base: Base, device: torch.device, precision: str) -> Path:
    """Where the deviation of a base on this machine is kept."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    key = f"{_VERSION} {base.fingerprint} {device.type} {name} {torch.__version__} {precision}"
    return default_root("precision") / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.json"


def _kept(file: Path, precision: str) -> Deviation | None:
    """An earlier measurement; None if there is none or its file is damaged."""
    try:
        kept = Deviation(**read_json(file))
    except (OSError, DataError, TypeError):
        return None
    numbers = (kept.objects, kept.change, kept.agreement)
    sound = kept.precision == precision and all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)
    return kept if sound else None


__all__ = ["AUTO", "LIMIT", "Deviation", "EncoderPrecision", "hardware_precision", "measure", "resolve"]
