"""DINOv2 (Oquab et al., arXiv 2304.07193), with or without registers, from the hub or a folder."""

from __future__ import annotations

from samtailor.bases.companions import _vit

_SIZE = 448
"""Side of the input, pixels: 32 patches. A model that was trained on smaller images takes images of that size."""


def matches(source: str, model_type: str | None) -> bool:
    """Whether this file loads a model of this type."""
    return model_type in ("dinov2", "dinov2_with_registers")


def build(source: str) -> _vit.VisionTransformer:
    """Load a DINOv2.

    Args:
        source: hub id, e.g. facebook/dinov2-small, or folder made with `save_pretrained`.

    Raises:
        BaseUnavailableError, InputError: see `_vit.load`.
    """
    model = _vit.load(source)
    config = model.config
    size = min(_SIZE, config.image_size) // config.patch_size * config.patch_size
    return _vit.VisionTransformer(model, source, size=size, prefix=1 + getattr(config, "num_register_tokens", 0))
