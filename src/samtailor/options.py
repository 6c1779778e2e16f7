"""Options are the keyword-only arguments of a `build` function; this refuses all others in words."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection
from typing import Any

from samtailor.errors import InputError


def options(build: Callable[..., Any]) -> dict[str, Any]:
    """Names and default values of the options of a `build` function."""
    parameters = inspect.signature(build).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def refuse_unknown(build: Callable[..., Any], unknown: Collection[str]) -> None:
    """Raise unless `unknown` (what a `build` caught in its `**unknown`) is empty.

    Raises:
        InputError: with the known options and the closest one.
    """
    if not unknown:
        return
    name, known = next(iter(unknown)), list(options(build))
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    owner = build.__module__.rsplit(".", 1)[-1].replace("_", "-")
    raise InputError(f"{owner!r} has no option {name!r}. Known: {', '.join(known) or 'none'}.{hint}")


def choose(name: str, value: str, known: Collection[str]) -> str:
    """`value`, checked against the words an option knows.

    Raises:
        InputError: it is none of them.
    """
    if value not in known:
        close = difflib.get_close_matches(str(value), list(known), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{name} must be one of {', '.join(known)}, got {value!r}.{hint}")
    return value
