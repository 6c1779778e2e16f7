"""Frozen promptable models, one file per decoder family.

`load_base("nano")`, `load_base("facebook/sam-vit-base")`, `load_base("models/my-sam")`,
`load_base("sam_vit_b_01ec64.pth")`: each file here says by `matches` whether it is the one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from samtailor.bases._protocol import Base
from samtailor.errors import BaseUnavailableError, InputError
from samtailor.registry import find, names

if TYPE_CHECKING:
    import torch

__all__ = ["Base", "load_base", "load_on"]


def load_base(source: str | Path = "nano") -> Base:
    """Load a base model by name, hub id, folder or checkpoint file, frozen.

    Raises:
        BaseUnavailableError: nothing of that name here, and the hub cannot be reached or does not have it.
        InputError: it is there, but no file of `samtailor.bases` can load it.
    """
    source = str(source)
    if source in names("bases"):
        if source != "nano":
            raise InputError(f"{source!r} is a model family, not a model; give a hub id or folder, or 'nano'.")
        return find("bases", source).build(source)
    model_type = _model_type(source)
    for name in names("bases"):
        module = find("bases", name)
        if module.matches(source, model_type):
            return module.build(source)
    raise InputError(
        f"The model {source!r} is of type {model_type!r}, which no base of samtailor loads. "
        "Expected a SAM ('sam') or SAM 2 ('sam2') in transformers' layout, or Meta's sam_vit_*.pth."
    )


def load_on(base: str | Path, device: str | torch.device | None = None) -> Base:
    """Load a base onto a device; None takes a GPU where there is one.

    Raises:
        BaseUnavailableError: the base cannot be had.
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


def _model_type(source: str) -> str | None:
    """config.json's model_type; None for a checkpoint file."""
    path = Path(source)
    if path.suffix == ".pth":
        return None
    if path.is_dir():
        return _read_model_type(path / "config.json", source)
    nothing = BaseUnavailableError(
        f"No base model at {source!r}. Expected 'nano', a hub id such as facebook/sam-vit-base, a folder made with "
        "save_pretrained, or Meta's sam_vit_*.pth."
    )
    if path.exists() or source.startswith((".", "/")) or source.count("/") != 1:
        raise nothing
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return _read_model_type(Path(hf_hub_download(source, "config.json")), source)
    except HFValidationError as error:
        raise nothing from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BaseUnavailableError(
            f"The base model {source!r} is not in this machine's cache and the hub cannot be reached or does not "
            "have it. Check the name and the network, or use the bundled base 'nano', which needs none."
        ) from error


def _read_model_type(path: Path, source: str) -> str:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["model_type"]
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise BaseUnavailableError(
            f"{source!r} has no readable config.json with a model_type; expected a folder made with save_pretrained."
        ) from error
