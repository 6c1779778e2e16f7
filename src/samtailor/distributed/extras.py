"""Optional libraries of the distributed commands."""

from __future__ import annotations

import importlib
from typing import Any

from samtailor.errors import MissingExtraError


def library(name: str, *, why: str, package: str = "'samtailor[ray]'") -> Any:
    """Import an optional library.

    Args:
        name: of the module.
        why: what needs it, as the first words of the message.
        package: argument of pip install.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(f"{why} needs the package {name.split('.')[0]}: pip install {package}.") from error


__all__ = ["library"]
