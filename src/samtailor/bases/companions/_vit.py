"""Vision transformers of the library transformers as companions: their last patch tokens."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from samtailor.bases import _vendor
from samtailor.errors import InputError

_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet


class VisionTransformer:
    """See `companions.Companion`. One map: the last hidden state, normalized by the model's own last layer.

    Args:
        model: transformers' model, which returns `last_hidden_state` (B, prefix + h w, C).
        name: its source.
        size: side of the input in pixels, a multiple of the patch size.
        prefix: number of tokens before the patches (class and registers).

    Raises:
        InputError: the model cannot take an image of this size.
    """

    mean, std = _MEAN, _STD

    def __init__(self, model: Any, name: str, *, size: int, prefix: int) -> None:
        patch = model.config.patch_size
        if not isinstance(patch, int) or size < patch or size % patch:
            raise InputError(f"The companion {name!r} has patches of {patch!r} px, which do not divide {size} px.")
        self.name, self.size, self._prefix = name, size, prefix
        self.model = _vendor.freeze(model)
        self.channels, self.sides = (model.config.hidden_size,), (size // patch,)
        self.fingerprint = _vendor.fingerprint(model, mean=self.mean, std=self.std, size=size)

    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalized images (B, 3, size, size) to one map (B, C, s, s)."""
        tokens = self.model(pixel_values=images).last_hidden_state[:, self._prefix :]
        return (tokens.transpose(1, 2).unflatten(2, (self.sides[0], self.sides[0])),)


def load(source: str) -> Any:
    """transformers' model of a hub id or folder, float32; safetensors only.

    Raises:
        BaseUnavailableError: the model is not available.
        InputError: its tensors do not fit its configuration.
    """
    from transformers import AutoModel

    return _vendor.load_pretrained(
        AutoModel, source, what="companion", instead="the companion 'bundled', which needs no network"
    )
