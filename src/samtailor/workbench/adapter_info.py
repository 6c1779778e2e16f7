"""What the page shows of an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from samtailor.artefact import AdapterMeta
from samtailor.errors import InputError
from samtailor.fitting.gate import MIN_OBJECTS, gate_of
from samtailor.fitting.gate_words import sentences
from samtailor.serve.adapters import LoadedAdapter


def adapter_to_json(loaded: LoadedAdapter, aliases: Mapping[str, str], *, deletable: bool) -> dict[str, Any]:
    """Name, classes, scores on held-out objects and comparison with the adapter before it.

    Args:
        loaded: the adapter.
        aliases: earlier name of a class to its present name.
        deletable: whether it belongs to the project.
    """
    meta = adapter_meta(loaded)
    figures, scores, gate = meta.figures, scores_of(meta.figures), gate_of(meta.figures)
    complete = isinstance(scores["miou"], float) and isinstance(scores["start_miou"], float)
    named = {"held_out_miou": "miou", "start_miou": "start_miou", "held_out_region_miou": "automatic_miou"}
    counts = {key: figures.get(key) for key in ("held_out_images", "held_out_masks")}
    return {
        "name": loaded.name, "classes": [aliases.get(name, name) for name in meta.classes],
        "method": meta.method, "auto": loaded.automatic, "promptless": meta.inference.prompt == "none",
        "figures": {key: scores[name] for key, name in named.items()} if complete else None,
        "interval": scores["interval"], **counts,
        "comparison": [] if gate is None else sentences(gate, meta.inference.strength),
        "replaces": None if gate is None else gate.replaces,
        "deletable": deletable, "created": meta.created,
    }  # fmt: skip


def scores_of(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of an adapter in [0, 1] with the 95 % interval of clicks; None with fewer than 5 held-out objects."""
    names = {"miou": "held_out_miou", "start_miou": "start_miou", "automatic_miou": "held_out_region_miou"}
    names["interval"] = "held_out_interval"
    if figures.get("held_out_masks", MIN_OBJECTS) < MIN_OBJECTS:
        return dict.fromkeys(names)
    return {name: figures.get(figure) for name, figure in names.items()}


def adapter_meta(loaded: LoadedAdapter) -> AdapterMeta:
    """Metadata of an adapter. Raises InputError for the base model, which has none."""
    if loaded.meta is None:
        raise InputError("The base model is not an adapter.")
    return loaded.meta


__all__ = ["adapter_meta", "adapter_to_json", "scores_of"]
