"""What the data structures of tensors share: checks of shapes, rows, and moving to a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from samtailor.errors import InputError

if TYPE_CHECKING:
    import torch


def rows_of(value: Any, names: Sequence[str], rows: list[int]) -> dict[str, Any]:
    """The rows of those of the fields that are not None."""
    fields_of = ((name, getattr(value, name)) for name in names)
    return {name: field[rows] for name, field in fields_of if field is not None}


def expect(name: str, tensor: torch.Tensor | np.ndarray, shape: tuple[int | None, ...]) -> None:
    """Check a shape; None stands for any length.

    Raises:
        InputError: the tensor has another shape.
    """
    got = tuple(tensor.shape)
    if len(got) != len(shape) or any(want not in (None, have) for want, have in zip(shape, got, strict=False)):
        expected = ", ".join("any" if want is None else str(want) for want in shape)
        raise InputError(f"{name} must have shape ({expected}), got {got}.")


def move(value: Any, *args: Any) -> Any:
    """A dataclass with every tensor moved to a device."""
    moved = {f.name: getattr(value, f.name).to(*args) for f in fields(value) if hasattr(getattr(value, f.name), "to")}
    return replace(value, **moved)


__all__ = ["expect", "move", "rows_of"]
