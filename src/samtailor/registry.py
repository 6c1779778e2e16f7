"""Methods, formats, prompt sources, bases, presets and more by name. A name is a file.

`find("methods", "plm-pmm")` imports `samtailor/methods/plm_pmm.py`. There are no decorators and nothing is registered
at import time. A file whose name starts with an underscore is private; `NOT_REGISTERED` lists public
modules of a package that are not of its kind.

Files outside the package (plug-ins) are used too:

* in a folder named by the environment variable `SAMTAILOR_PLUGINS` (several folders are separated as in `PATH`),
  which has one subfolder for each kind: `FOLDER/methods/my_method.py`;
* as an entry point of an installed distribution: group `samtailor.methods`, name `my-method`, value the module.

A plug-in cannot replace a built-in name. Plug-ins run as part of the program: use only folders that you trust.
"""

from __future__ import annotations

import difflib
import functools
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
    "companions": "samtailor.bases.companions",
    "prompts": "samtailor.prompts",
    "detectors": "samtailor.proposals.detectors",
    "formats": "samtailor.data.formats",
    "sets": "samtailor.data.sets",
    "writers": "samtailor.data.writers",
    "export": "samtailor.export",
    "presets": "samtailor.train.presets",
    "matchers": "samtailor.matchers",
    "figures": "samtailor.compare.figures",
    "candidates": "samtailor.fitting.contest.candidates",
    "instances": "samtailor.fitting.contest.instances",
}
"""Kinds of things that have a name, and the package that holds the built-in ones."""
NOT_REGISTERED = {"bases": ("companions", "decoder", "encoder")}
"""Public modules of these packages that are not of the kind."""
BUNDLED_BASE = "lite"
"""Name of the base whose weights are part of the package: the default wherever a base is chosen."""
PLUGINS = "SAMTAILOR_PLUGINS"
"""Environment variable with the folders of plug-ins."""
_SINGULAR = {"prompts": "prompt source", "sets": "data set", "export": "export format"}


def names(kind: str) -> list[str]:
    """Names of a kind of `KINDS`, built-in and of plug-ins, sorted, with dashes.

    Raises:
        InputError: a folder of plug-ins does not exist or cannot be read.
    """
    return sorted({*_built_in(kind), *_files(kind), *_entry_points(kind)})


def find(kind: str, name: str) -> ModuleType:
    """Import the module of a name. Case, dashes and underscores do not matter.

    Raises:
        InputError: there is no such name (the message lists the names and the closest one), or a plug-in cannot be
            imported.
    """
    wanted = _normalized(name)
    if wanted in _built_in(kind):
        return importlib.import_module(f"{KINDS[kind]}.{wanted.replace('-', '_')}")
    if (file := _files(kind).get(wanted)) is not None:
        return _plugin(kind, wanted, lambda: _imported(kind, wanted, file))
    if (entry := _entry_points(kind).get(wanted)) is not None:
        return _plugin(kind, wanted, entry.load)
    known = names(kind)
    singular = _SINGULAR.get(kind, kind.removesuffix("s"))
    raise InputError(f"No {singular} is called {name!r}. Known: {', '.join(known)}.{_closest(wanted, known)}")


def options(build: Callable[..., Any]) -> dict[str, Any]:
    """Names and default values of the options of a `build` function: its keyword-only arguments."""
    parameters = inspect.signature(build).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def refuse_unknown(build: Callable[..., Any], unknown: Collection[str]) -> None:
    """Raise unless `unknown`, the `**unknown` arguments of a `build` function, is empty.

    Raises:
        InputError: with the known options and the closest one.
    """
    if not unknown:
        return
    name, known = next(iter(unknown)), list(options(build))
    owner = build.__module__.rsplit(".", 1)[-1].replace("_", "-")
    raise InputError(f"{owner!r} has no option {name!r}. Known: {', '.join(known) or 'none'}.{_closest(name, known)}")


def choose(name: str, value: str, known: Collection[str]) -> str:
    """`value`, checked to be one of the known values of an option.

    Raises:
        InputError: it is not.
    """
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, got {value!r}.{_closest(str(value), known)}")
    return value


def number(
    name: str, value: Any, *, at_least: float | None = None, at_most: float | None = None, integer: bool = False
) -> Any:
    """`value`, checked to be a number in a range.

    Args:
        name: of the option, for the message.
        value: the value.
        at_least, at_most: bounds, inclusive; None: no bound.
        integer: whether it must be an integer.

    Raises:
        InputError: it is not such a number.
    """
    kind = int if integer else (int, float)
    numeric = isinstance(value, kind) and not isinstance(value, bool) and value == value  # NaN differs from itself
    low = numeric and at_least is not None and value < at_least
    high = numeric and at_most is not None and value > at_most
    if not numeric or low or high:
        limits = "" if at_least is None else f" of at least {at_least}"
        limits = limits if at_most is None else f" of at most {at_most}"
        limits = limits if at_least is None or at_most is None else f" from {at_least} to {at_most}"
        wanted = ("an integer" if integer else "a number") + limits
        raise InputError(f"{name} must be {wanted}, got {value!r}.")
    return value


def _built_in(kind: str) -> list[str]:
    # by path: importing the package would import torch, and help texts list names
    folder = Path(__file__).parent.joinpath(*KINDS[kind].split(".")[1:])
    other = NOT_REGISTERED.get(kind, ())
    return [name.replace("_", "-") for name in _modules(str(folder)) if name not in other]


@functools.cache
def _modules(folder: str) -> tuple[str, ...]:
    """Public modules of a folder of this package; they do not change while the program runs."""
    return tuple(module.name for module in pkgutil.iter_modules([folder]) if not module.name.startswith("_"))


def _files(kind: str) -> dict[str, Path]:
    """Plug-in files by name; of two files with one name, the one in the earlier folder is used."""
    files: dict[str, Path] = {}
    for folder in _folders(kind):
        for file in sorted(folder.glob("*.py")):
            if not file.name.startswith("_"):
                files.setdefault(_normalized(file.stem), file)
    return files


def _folders(kind: str) -> Iterator[Path]:
    """Folders with plug-ins of a kind."""
    for text in filter(None, os.environ.get(PLUGINS, "").split(os.pathsep)):
        folder = Path(text).expanduser()
        if not folder.is_dir():
            raise InputError(f"{PLUGINS} names {text}, which is not a folder. Correct the variable or unset it.")
        for part in (folder, folder / kind):
            if part.is_dir() and not os.access(part, os.R_OK | os.X_OK):
                raise InputError(f"The folder of plug-ins {part} cannot be read. Check its permissions or {PLUGINS}.")
        if (folder / kind).is_dir():
            yield folder / kind


def _entry_points(kind: str) -> dict[str, metadata.EntryPoint]:
    return _entry_points_on(kind, tuple(sys.path))


@functools.lru_cache(maxsize=64)
def _entry_points_on(kind: str, path: tuple[str, ...]) -> dict[str, metadata.EntryPoint]:
    """Entry points of the distributions on `sys.path`, which takes milliseconds to search."""
    return {_normalized(entry.name): entry for entry in metadata.entry_points(group=f"samtailor.{kind}")}


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


def _plugin(kind: str, name: str, load: Callable[[], Any]) -> ModuleType:
    try:
        module = load()
    except Exception as error:
        raise InputError(
            f"The plug-in {name!r} ({kind}) cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(module, ModuleType):
        raise InputError(f"The plug-in {name!r} ({kind}) must be a module, got {type(module).__name__}.")
    return module


def _normalized(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _closest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


__all__ = ["BUNDLED_BASE", "KINDS", "PLUGINS", "choose", "find", "names", "number", "options", "refuse_unknown"]
