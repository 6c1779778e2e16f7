"""Pretrained backbones of transformers, and reproducible random initialization."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from samtailor.compare.baselines import SCRATCH
from samtailor.errors import BaseUnavailableError, DataError, InputError
from samtailor.limits.model_files import check_model_folder


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch inside the block, and restore them afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def pretrained(model_class: Any, source: str, **options: Any) -> nn.Module:
    """Load a complete float32 model with `from_pretrained` of transformers.

    Raises:
        BaseUnavailableError: neither the hub nor the folder has it.
        InputError: it lacks tensors.
    """
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # its table of tensors that do not fit; the error below says it
    try:
        if Path(source).is_dir():
            check_model_folder(Path(source))
        model, info = model_class.from_pretrained(
            source, output_loading_info=True, dtype=torch.float32, use_safetensors=True, **options
        )
    except DataError as error:
        raise BaseUnavailableError(f"The backbone weights {source!r} could not be loaded: {error}") from error
    except (OSError, ValueError) as error:
        where = "folder" if Path(source).exists() else "hub id"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise BaseUnavailableError(
            f"The backbone weights {source!r} ({where}) could not be loaded: {reason}. Expected a folder written by "
            "save_pretrained, or a hub id that can be downloaded or is in the cache. Without either, use "
            f"weights={SCRATCH!r}; the network then learns much less from few images."
        ) from error
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
    wrong = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if wrong:
        raise InputError(
            f"The weights {source!r} lack {len(wrong)} tensors of a {model_class.__name__}, e.g. {wrong[0]}."
        )
    return model


__all__ = ["pretrained", "seeded"]
