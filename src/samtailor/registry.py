"""Methods, formats, prompt sources, detectors, bases, baselines and writers by name. A name is a file.

`find("methods", "plm-pmm")` imports `samtailor/methods/plm_pmm.py`. There are no decorators and nothing is registered
at import time. A file whose name starts with an underscore is private.

Files outside the package are found too (plug-ins):

* in a folder named by the environment variable `SAMTAILOR_PLUGINS` (several folders are separated as in `PATH`),
  which has one subfolder for each kind: `FOLDER/methods/my_method.py`;
* as an entry point of an installed distribution: group `samtailor.methods`, name `my-method`, value the module.

A plug-in cannot replace a name of the package. Plug-ins run as part of the program: name only folders that you trust.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Collection, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from samtailor.errors import InputError

KINDS = {
    "methods": "samtailor.methods",
    "baselines": "samtailor.compare.baselines",
    "bases": "samtailor.bases",
    "prompts": "samtailor.prompts",
    "detectors": "samtailor.proposals.detectors",
    "formats": "samtailor.data.formats",
    "sets": "samtailor.data.sets",
    "writers": "samtailor.data.writers",
    "export": "samtailor.export",
}
"""Kinds of things that have a name, and the package that holds the built-in ones."""
PLUGINS = "SAMTAILOR_PLUGINS"
"""Environment variable that names folders of plug-ins."""


def names(kind: str) -> list[str]:
    """Names available for a kind of `KINDS`, sorted, with dashes: those of the package, then of plug-ins."""
    return sorted({*_built_in(kind), *_files(kind), *_entry_points(kind)})


def find(kind: str, name: str) -> ModuleType:
    """Import the module that a name stands for.

    Raises:
        InputError: no file of that name; the message lists the names and the closest one. Or a plug-in that cannot be
            imported.
    """
    wanted = name.strip().lower().replace("_", "-")
    if wanted in _built_in(kind):
        return importlib.import_module(f"{KINDS[kind]}.{wanted.replace('-', '_')}")
    if (file := _files(kind).get(wanted)) is not None:
        return _plugin(kind, wanted, lambda: _imported(kind, wanted, file))
    if (entry := _entry_points(kind).get(wanted)) is not None:
        return _plugin(kind, wanted, entry.load)
    known = names(kind)
    raise InputError(f"No {kind.rstrip('s')} is called {name!r}. Known: {', '.join(known)}.{_closest(wanted, known)}")


def options(build: Callable[..., Any]) -> dict[str, Any]:
    """Names and default values of the options of a `build` function: its keyword-only arguments."""
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
    owner = build.__module__.rsplit(".", 1)[-1].replace("_", "-")
    raise InputError(f"{owner!r} has no option {name!r}. Known: {', '.join(known) or 'none'}.{_closest(name, known)}")


def choose(name: str, value: str, known: Collection[str]) -> str:
    """`value`, checked against the values that an option takes.

    Raises:
        InputError: it is none of them.
    """
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, got {value!r}.{_closest(str(value), known)}")
    return value


def _built_in(kind: str) -> list[str]:
    package = importlib.import_module(KINDS[kind])
    other = getattr(package, "NOT_REGISTERED", ())
    modules = (module.name for module in pkgutil.iter_modules(package.__path__))
    return [name.replace("_", "-") for name in modules if not name.startswith("_") and name not in other]


def _files(kind: str) -> dict[str, Path]:
    """Plug-in files of the folders in `SAMTAILOR_PLUGINS`; of two files of one name the first folder's counts."""
    found: dict[str, Path] = {}
    for folder in _folders():
        for file in sorted((folder / kind).glob("*.py")):
            if not file.name.startswith("_"):
                found.setdefault(file.stem.replace("_", "-"), file)
    return found


def _folders() -> Iterator[Path]:
    for text in filter(None, os.environ.get(PLUGINS, "").split(os.pathsep)):
        folder = Path(text).expanduser()
        if not folder.is_dir():
            raise InputError(f"{PLUGINS} names {text}, which is not a folder. Correct the variable or unset it.")
        yield folder


def _entry_points(kind: str) -> dict[str, metadata.EntryPoint]:
    return {entry.name.replace("_", "-"): entry for entry in metadata.entry_points(group=f"samtailor.{kind}")}


def _imported(kind: str, name: str, file: Path) -> ModuleType:
    """The module of a plug-in file, imported once."""
    full = f"samtailor_plugins.{kind}.{name.replace('-', '_')}"
    known = sys.modules.get(full)
    if known is not None and getattr(known, "__file__", None) == str(file):
        return known
    spec = importlib.util.spec_from_file_location(full, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[full]
        raise
    return module


def _plugin(kind: str, name: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except Exception as error:
        raise InputError(
            f"The plug-in {name!r} ({kind}) cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _closest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


__all__ = ["KINDS", "PLUGINS", "choose", "find", "names", "options", "refuse_unknown"]
