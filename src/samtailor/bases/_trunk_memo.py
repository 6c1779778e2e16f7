"""The last maps of the bundled base's backbone, so that a companion with the same weights need not compute them again.

The encoder of a base and its companion are called one after the other with the same images. The maps are found again
by the weights of the backbone and the content of the images, for each thread separately.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

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


def keep(key: str, images: Tensor, maps: Sequence[Tensor]) -> None:
    """Keep the maps of the last batch of images.

    Args:
        key: of the weights, see `weights_key`.
        images: normalized images (B, 3, s, s).
        maps: what the backbone returns for them.
    """
    _kept.last = (key, images, tuple(maps))


def recall(key: str, images: Tensor) -> tuple[Tensor, ...] | None:
    """The maps of these images if they are those of the last batch; None otherwise, and always in tracing."""
    if torch.jit.is_tracing() or (last := getattr(_kept, "last", None)) is None:
        return None
    known, before, maps = last
    same = known == key and before.shape == images.shape and before.device == images.device
    return maps if same and torch.equal(before, images) else None


__all__ = ["keep", "recall", "weights_key"]
