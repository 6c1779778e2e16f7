"""A name is a file: `find("methods", "plm-pmm")` imports `samtailor/methods/plm_pmm.py`.

No decorators, no import-time registration. A file whose name starts with an underscore is private.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from types import ModuleType

from samtailor.errors import InputError


def names(kind: str) -> list[str]:
    """Names available for a kind (`"methods"`, `"bases"`, `"prompts"`, `"data.formats"`, ...), sorted, with dashes."""
    package = importlib.import_module(f"samtailor.{kind}")
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def find(kind: str, name: str) -> ModuleType:
    """Import the module that a name stands for.

    Raises:
        InputError: no file of that name; the message lists the names and the closest one.
    """
    known = names(kind)
    wanted = name.strip().lower().replace("_", "-")
    if wanted not in known:
        close = difflib.get_close_matches(wanted, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        what = kind.rsplit(".", 1)[-1].rstrip("s")
        raise InputError(f"No {what} is called {name!r}. Known: {', '.join(known)}.{hint}")
    return importlib.import_module(f"samtailor.{kind}.{wanted.replace('-', '_')}")
