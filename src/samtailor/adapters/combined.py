"""How a segmenter combines its adapters: modules inside the base, faster ways, interpolation to the base model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from samtailor.errors import InputError
from samtailor.structures import Tokens


def interpolated(plain: Tokens, changed: Tokens, strength: float | Tensor) -> Tokens:
    """Tokens between those of the base model (strength 0) and those of an adapter (strength 1).

    Raises:
        InputError: the adapter adds tokens.
    """
    if plain.sparse.shape != changed.sparse.shape or plain.dense.shape != changed.dense.shape:
        raise InputError("An adapter that adds tokens to a prompt cannot be interpolated to the base model.")
    return Tokens(
        plain.sparse + strength * (changed.sparse - plain.sparse),
        plain.dense + strength * (changed.dense - plain.dense),
    )


def has_fast_way(adapter: Callable[..., Tokens]) -> bool:
    """Whether `forward` of an adapter has the optional argument `fast`."""
    return "fast" in inspect.signature(getattr(adapter, "forward", adapter)).parameters


def exchanged_modules(parts: Mapping[str, Mapping[str, nn.Module]]) -> dict[str, nn.Module]:
    """All exchanged modules together. Of two adapters in one place, or one within the other, one would be lost."""
    owners: dict[str, str] = {}
    for adapter, modules in parts.items():
        for name in modules:
            for other, owner in owners.items():
                if f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}."):
                    raise InputError(f"The adapters {owner!r} and {adapter!r} both exchange {name!r} of the base.")
            owners[name] = adapter
    return {name: module for modules in parts.values() for name, module in modules.items()}


__all__ = ["exchanged_modules", "has_fast_way", "interpolated"]
