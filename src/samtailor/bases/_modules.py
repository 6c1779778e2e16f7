"""Copies of a module tree with some of its modules exchanged; all tensors are shared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def exchange(module: AnyModule, modules: Mapping[str, nn.Module], prefix: str = "") -> AnyModule:
    """A copy of the tree of a module with some of its modules exchanged by name; every tensor is shared."""
    copy = shallow_copy(module)
    for name, child in module._modules.items():
        path = prefix + name
        copy._modules[name] = modules[path] if path in modules else child and exchange(child, modules, f"{path}.")
    return copy


def shallow_copy(module: AnyModule) -> AnyModule:
    """A copy of one module with the same values and its own dictionaries, so that hooks and children are its own."""
    copy = module.__new__(type(module))
    copy.__dict__.update({k: v.copy() if isinstance(v, dict) else v for k, v in module.__dict__.items()})
    return copy


__all__ = ["exchange", "shallow_copy"]
