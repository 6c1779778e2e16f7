"""DINOv3 vision transformers (Simeoni et al., arXiv 2508.10104) from the hub or a folder."""

from __future__ import annotations

from samtailor.bases.companions import _vit

_PATCHES = 28
"""Patches per side: 448 px with patches of 16 px. Rotary positions do not depend on the size of the training images."""


def matches(source: str, model_type: str | None) -> bool:
    """Whether this file loads a model of this type."""
    return model_type == "dinov3_vit"


def build(source: str) -> _vit.VisionTransformer:
    """Load a DINOv3.

    Args:
        source: hub id, e.g. facebook/dinov3-vits16-pretrain-lvd1689m (its license must be accepted on the hub), or
            folder made with `save_pretrained`.

    Raises:
        BaseUnavailableError, InputError: see `_vit.load`.
    """
    model = _vit.load(source)
    config = model.config
    return _vit.VisionTransformer(
        model, source, size=_PATCHES * config.patch_size, prefix=1 + config.num_register_tokens
    )
