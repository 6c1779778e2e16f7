"""Frozen promptable models, one file per model family.

`load_base("lite")`, `load_base("facebook/sam-vit-base")`, `load_base("models/my-sam")`,
`load_base("sam_vit_b_01ec64.pth")`.

To add a base, write a file with two functions, here or as a plug-in (see `samtailor.registry`):

* `matches(source, model_type) -> bool`: whether this file loads `source`. `model_type` is that of the config.json of a
  folder or hub id; it is None for a checkpoint file and for a plain name such as "lite".
* `build(source) -> Base`: loads it, frozen. With a keyword `size` it also loads it for another image size, in pixels,
  which `NAME@SIZE` asks for: `load_base("facebook/sam-vit-base@256")`.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from samtailor.bases._protocol import Base
from samtailor.bases._retired import is_retired, retired_base
from samtailor.errors import BaseUnavailableError, DataError, InputError, SamtailorError
from samtailor.limits.model_files import read_model_config
from samtailor.registry import BUNDLED_BASE, find, names

if TYPE_CHECKING:
    import torch

__all__ = ["Base", "is_retired", "load_base", "load_on", "retired_base"]


def load_base(source: str | Path = BUNDLED_BASE) -> Base:
    """Load a base model, frozen.

    Args:
        source: name of a base, hub id, folder made with `save_pretrained`, or checkpoint file. `@SIZE` at its end loads
            the model for another image size, in pixels: "facebook/sam-vit-base@256".

    Raises:
        BaseUnavailableError: there is no such model, it is a bundled base of an earlier version, or the hub cannot be
            reached.
        InputError: no base of `samtailor.bases` or of a plug-in loads this type of model, or it has one image size
            only.
    """
    source, size = _with_size(str(source))
    known = names("bases")
    if source not in known and (advice := retired_base(source)):
        raise BaseUnavailableError(advice)
    for name in known:  # names and checkpoint files first: they have no config.json
        if (module := find("bases", name)).matches(source, None):
            return _built(module, source, size)
    if source in known:
        raise InputError(
            f"{source!r} is a model family, not a model. Give a hub id or a folder, or one of: {_loadable()}."
        )
    model_type = _model_type(source)
    for name in known:
        if (module := find("bases", name)).matches(source, model_type):
            return _built(module, source, size)
    raise InputError(
        f"The model {source!r} is of type {model_type!r}, which no base loads. Known bases: {', '.join(known)}."
    )


def _with_size(source: str) -> tuple[str, int | None]:
    """ "NAME@256" to ("NAME", 256); a source without a size, or an existing path, is returned as it is."""
    name, at, size = source.rpartition("@")
    if not at or not name or not size.isdecimal() or Path(source).exists():
        return source, None
    return name, int(size)


def _built(module: ModuleType, source: str, size: int | None) -> Base:
    """Build a base. Model files come from others, and transformers raises errors of any type for a damaged one."""
    if size is not None and "size" not in inspect.signature(module.build).parameters:
        raise InputError(f"{source!r} has one image size only; write {source} without @{size}. SAM 1 can be resized.")
    import torch  # the command line lists bases without it

    try:
        with torch.random.fork_rng(devices=[]):  # loading does not change what a program draws afterwards
            return module.build(source) if size is None else module.build(source, size=size)
    except (SamtailorError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"The base model {source!r} cannot be built: {type(error).__name__}: {str(error)[:300]} Its config.json or "
            "its weights are damaged, or of a version of transformers that this one cannot read."
        ) from error


def load_on(base: str | Path, device: str | torch.device | None = None) -> Base:
    """Load a base onto a device.

    Args:
        base: as in `load_base`.
        device: None or "auto" takes a GPU if there is one, else the CPU.

    Raises:
        BaseUnavailableError: the base is not available.
        InputError: there is no such device.
    """
    import torch  # the command line lists bases without it

    loaded = load_base(base)
    if device in (None, "auto"):
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        loaded.model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"The device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error
    return loaded


def _loadable() -> str:
    """Names of bases that `load_base` takes as they are."""
    return ", ".join(repr(name) for name in names("bases") if find("bases", name).matches(name, None))


def _model_type(source: str) -> str:
    """`model_type` of the config.json of a folder or hub id."""
    path = Path(source)
    if path.is_dir():
        return _read_model_type(path / "config.json", source)
    unknown = BaseUnavailableError(
        f"No base model at {source!r}. Expected a name ({_loadable()}), a hub id such as facebook/sam-vit-base, a "
        "folder made with save_pretrained, or Meta's sam_vit_*.pth."
    )
    if path.exists() or source.startswith((".", "/")) or source.count("/") != 1:
        raise unknown
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return _read_model_type(Path(hf_hub_download(source, "config.json")), source)
    except HFValidationError as error:
        raise unknown from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BaseUnavailableError(
            f"The base model {source!r} is not in the cache of this machine, and the hub cannot be reached or does not "
            f"have it. Check the name and the network, or use the bundled base {BUNDLED_BASE!r}, which needs none."
        ) from error


def _read_model_type(path: Path, source: str) -> str:
    try:
        model_type = read_model_config(path)["model_type"]
    except (DataError, KeyError) as error:
        reason = "it has no model_type." if isinstance(error, KeyError) else error
        raise BaseUnavailableError(
            f"{source!r} has no usable config.json: {reason} Expected a folder made with save_pretrained."
        ) from error
    if not isinstance(model_type, str):
        raise BaseUnavailableError(f"{source!r}: model_type must be a text, got {model_type!r:.80}.")
    return model_type
