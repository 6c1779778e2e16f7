"""What the page shows of an adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from samtailor.artefact import AdapterMeta
from samtailor.errors import InputError
from samtailor.fitting.gate import MIN_OBJECTS, gate_of
from samtailor.fitting.verdict import comparison_of, replaces_of
from samtailor.serve.adapters import LoadedAdapter


def adapter_to_json(loaded: LoadedAdapter, aliases: Mapping[str, str], *, deletable: bool) -> dict[str, Any]:
    """Name, classes, scores on held-out objects and comparison with the adapter before it.

    Args:
        loaded: the adapter.
        aliases: earlier name of a class to its present name.
        deletable: whether it belongs to the project.
    """
    meta, metas = adapter_meta(loaded), metas_of(loaded)
    figures, scores = meta.figures, scores_of(meta.figures)
    complete = isinstance(scores["miou"], float) and isinstance(scores["start_miou"], float)
    named = {"held_out_miou": "miou", "start_miou": "start_miou", "held_out_region_miou": "automatic_miou"}
    counts = {key: figures.get(key) for key in ("held_out_images", "held_out_masks")}
    return {
        "name": loaded.name, "classes": [aliases.get(name, name) for name in meta.classes],
        "method": meta.method, "auto": loaded.automatic, "promptless": meta.inference.prompt == "none",
        "figures": {key: scores[name] for key, name in named.items()} if complete else None,
        "interval": scores["interval"], **counts,
        "cross_validated": cross_validated(metas), "comparison": comparison_of(metas), "replaces": replaces_of(metas),
        "deletable": deletable, "created": meta.created,
    }  # fmt: skip


def scores_of(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of an adapter in [0, 1] with the 95 % interval of clicks; None with fewer than 5 held-out objects."""
    names = {"miou": "held_out_miou", "start_miou": "start_miou", "automatic_miou": "held_out_region_miou"}
    names["interval"] = "held_out_interval"
    if figures.get("held_out_masks", MIN_OBJECTS) < MIN_OBJECTS:
        return dict.fromkeys(names)
    return {name: figures.get(figure) for name, figure in names.items()}


def cross_validated(metas: Mapping[str, AdapterMeta]) -> dict[str, Any] | None:
    """Scores of the adapters of a contest, each in [0, 1]: their means over the classes; None for other adapters.

    Returns:
        "dice" of images without a prompt, and "click" and "base" IoU of clicks as they are answered and by the base
        model; each None where too few objects were judged. "objects": the number behind them.
    """
    if not all("contest" in meta.figures for meta in metas.values()):
        return None
    gates = [gate_of(meta.figures) for meta in metas.values()]
    rows = [(one.way, one) for gate in gates if gate is not None for one in gate.decisions if one.enough]
    dice = [one.new for way, one in rows if way == "region"]
    clicks = [(one.new if one.answers == "adapter" else one.base, one.base) for way, one in rows if way == "click"]
    objects = [one.objects for way, one in rows if way == "region"] or [one.objects for way, one in rows]
    return {
        "dice": _mean(dice), "click": _mean([one for one, _ in clicks]), "base": _mean([one for _, one in clicks]),
        "objects": sum(objects),
    }  # fmt: skip


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def metas_of(loaded: LoadedAdapter) -> dict[str, AdapterMeta]:
    """Metadata of an adapter, or of the adapters of its classes, by name."""
    parts = loaded.members or (loaded,)
    return {f"{one.name}": adapter_meta(one) for one in parts}


def adapter_meta(loaded: LoadedAdapter) -> AdapterMeta:
    """Metadata of an adapter. Raises InputError for the base model, which has none."""
    if loaded.meta is None:
        raise InputError("The base model is not an adapter.")
    return loaded.meta


__all__ = ["adapter_meta", "adapter_to_json", "cross_validated", "metas_of", "scores_of"]
