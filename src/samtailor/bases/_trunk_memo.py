"""The last maps of the bundled base's backbone, so that a companion with the same weights need not compute them again.

The encoder of a base and its companion are called one after the other with the same images. The maps are found again
by the weights of the backbone and the content of the images, for each thread separately.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

_kept = threading.local()


def weights_key(trunk: nn.Module) -> str:
    """Hash of all weights of a backbone, by name and value in full precision."""
    digest = hashlib.sha256()
    for name, tensor in sorted(trunk.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


class Encoder(Protocol):
    """What computes maps. The key is asked for only where a companion could use them."""

    @property
    def weights_key(self) -> str:
        """See the function of this name."""


def keep(encoder: Encoder, images: Tensor, maps: Sequence[Tensor]) -> None:
    """Keep the maps of the last batch of images.

    Args:
        encoder: that computed them.
        images: normalized images (B, 3, s, s).
        maps: what the backbone returns for them.
    """
    _kept.last = (weakref.ref(encoder), images, tuple(maps))  # a released base is freed


def recall(key: str, images: Tensor) -> tuple[Tensor, ...] | None:
    """The maps of these images if they are those of the last batch; None otherwise, and always in tracing."""
    if torch.jit.is_tracing() or (last := getattr(_kept, "last", None)) is None:
        return None
    kept, before, maps = last
    same = before.shape == images.shape and before.device == images.device and torch.equal(before, images)
    encoder = kept()
    return maps if same and encoder is not None and encoder.weights_key == key else None


__all__ = ["keep", "recall", "weights_key"]
