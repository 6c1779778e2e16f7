"""`bundled`: EfficientNet-Lite2 with ImageNet weights, the backbone of the bundled base; needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from samtailor.bases import _trunk_memo, _vendor
from samtailor.bases._efficientnet import MEAN, STD, EfficientNetLite, EfficientNetLiteConfig
from samtailor.errors import BaseUnavailableError
from samtailor.registry import BUNDLED_BASE

if TYPE_CHECKING:
    from samtailor.bases._protocol import Base

PACKAGED = True
_STRIDES = (8, 16, 32)
"""Stride 4 shows edges, which the base itself shows better."""
_WEIGHTS = Path(__file__).parents[1] / BUNDLED_BASE / "model.safetensors"
_PREFIX = "vision_encoder.backbone.trunk."


class Bundled:
    """See `companions.Companion`. Each cell of a map has zero mean and unit variance over its channels."""

    mean, std = MEAN, STD

    def __init__(self) -> None:
        trunk, size = _trunk()
        self.name, self.size = "bundled", size
        self.model = _vendor.freeze(trunk)
        self.weights_key = _trunk_memo.weights_key(trunk)
        self.channels = tuple(trunk.channels[1:])
        self.sides = tuple(size // stride for stride in _STRIDES)
        self.fingerprint = _vendor.fingerprint(
            trunk, mean=self.mean, std=self.std, size=size, maps="layer norm 8 16 32"
        )

    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalized images (B, 3, size, size) to maps at strides 8, 16 and 32; in full precision, also in autocast."""
        maps = _trunk_memo.recall(self.weights_key, images)  # the bundled base has just encoded them
        if maps is None:
            with torch.autocast(images.device.type, enabled=False):  # the same whether they are recalled or not
                maps = self.model(images.contiguous(memory_format=torch.channels_last))
        return self.of_backbone(maps)

    def backbone_in(self, base: Base) -> EfficientNetLite | None:
        """The network of this companion inside the encoder of a base; None if it sees other images or differs."""
        same = (tuple(base.mean), tuple(base.std)) == (tuple(self.mean), tuple(self.std))
        return _contained(base, self.size, self.weights_key) if same else None

    def of_backbone(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """As `maps`, from what the backbone returns: maps at strides 4, 8, 16 and 32."""
        return tuple(_normalized(one) for one in maps[1:])


def _trunk() -> tuple[EfficientNetLite, int]:
    """The backbone in the weights of the bundled base, float32, and the side of its input in pixels.

    Raises:
        BaseUnavailableError: the file is missing or has no such backbone.
    """
    from safetensors import SafetensorError, safe_open

    config = EfficientNetLiteConfig()
    with torch.random.fork_rng(devices=[]):  # its initialization is replaced; what is drawn later must not depend on it
        trunk = EfficientNetLite(config)
    try:
        with safe_open(_WEIGHTS, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(_PREFIX)]  # noqa: SIM118 - not a mapping
            trunk.load_state_dict({name.removeprefix(_PREFIX): file.get_tensor(name).float() for name in names})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise BaseUnavailableError(
            f"The companion 'bundled' cannot be read from the bundled weights {_WEIGHTS.name}: "
            f"{str(error).splitlines()[0]} Install samtailor again."
        ) from error
    return trunk, config.image_size


def _normalized(x: Tensor) -> Tensor:
    """(B, C, h, w) with zero mean and unit variance over the channels of each cell."""
    x = x.permute(0, 2, 3, 1)
    return F.layer_norm(x, [int(x.shape[-1])]).permute(0, 3, 1, 2)  # a constant, also in tracing


def in_encoder_of(base: Base) -> bool:
    """Whether the image encoder of a base contains this backbone, with these weights, and its input has this size."""
    return _backbone(base) is not None and _contained(base, *_identity()) is not None


def _contained(base: Base, size: int, key: str) -> EfficientNetLite | None:
    """The backbone of the image encoder if it has this input size, in pixels, and these weights."""
    trunk = _backbone(base)
    return trunk if trunk is not None and base.size == size and _trunk_memo.weights_key(trunk) == key else None


def _backbone(base: Base) -> EfficientNetLite | None:
    """The backbone of the image encoder if it is of this kind."""
    backbone = dict(base.model.named_modules()).get("vision_encoder.backbone")
    trunk = getattr(backbone, "trunk", None)
    return trunk if isinstance(trunk, EfficientNetLite) else None


@cache
def _identity() -> tuple[int, str]:
    """Side of the input in pixels, and key of the weights."""
    trunk, size = _trunk()
    return size, _trunk_memo.weights_key(trunk)


def matches(source: str, model_type: str | None) -> bool:
    """Whether this file loads `source`: only the name "bundled"."""
    return source == "bundled"


def build(source: str = "bundled") -> Bundled:
    """Load the backbone of the bundled base.

    Raises:
        BaseUnavailableError: its file is missing.
    """
    return Bundled()
