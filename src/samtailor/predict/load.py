"""A predictor with one or several adapters, on the base model that the first of them was fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from samtailor import artefact
from samtailor.bases import load_on
from samtailor.predict.predictor import Predictor
from samtailor.registry import BUNDLED_BASE


def load_predictor(
    adapters: Mapping[str, str | Path],
    base: str | Path | None = None,
    device: str | None = None,
    precision: str = "fp32",
) -> Predictor:
    """Load a base model and adapters.

    Args:
        adapters: name to folder or hub id; empty for the base model alone.
        base: base model; None uses the one of the first adapter, or the bundled one without adapters.
        device: None uses a GPU if there is one.
        precision: of the image encoder, see `Predictor`.

    Raises:
        BaseUnavailableError: the base model cannot be loaded.
        ArtefactError: an adapter is damaged or belongs to another base model.
    """
    first = next(iter(adapters.values()), None)
    loaded = load_on(base or (BUNDLED_BASE if first is None else artefact.base_of(first)), device)
    predictor = Predictor(loaded, precision=precision)
    for name, folder in adapters.items():
        predictor.add_adapter(name, folder)
    return predictor


__all__ = ["load_predictor"]
