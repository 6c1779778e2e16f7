"""The cache of embeddings that the settings of a fit describe."""

from __future__ import annotations

from samtailor.cache.embeddings import EmbeddingCache
from samtailor.cache.room import limit_bytes
from samtailor.errors import InputError
from samtailor.train.config import FitConfig

_SETTINGS = ("cache", "cache_gb", "embedding_precision", "encoder_precision")


def open_store(*configs: FitConfig) -> EmbeddingCache:
    """The cache of one fit, or of several that share it.

    Raises:
        InputError: the fits have different settings of the cache.
    """
    first = configs[0]
    for name in _SETTINGS:
        values = {getattr(config, name) for config in configs}
        if len(values) > 1:
            raise InputError(
                f"{name} must be the same for all methods, which share one cache of embeddings, got "
                f"{', '.join(sorted(map(str, values)))}. Set it once: --set {name}=VALUE."
            )
    return EmbeddingCache(
        first.cache,
        max_bytes=limit_bytes(first.cache_gb),
        precision=first.embedding_precision,
        encoder_precision=first.encoder_precision,
    )


__all__ = ["open_store"]
