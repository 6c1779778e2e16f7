"""What a fit leaves: the adapter, its history, and the figures of the state that was kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.fitting.folder import CHECKPOINT, HISTORY
from samtailor.train.config import FitConfig

if TYPE_CHECKING:
    from samtailor.segmenter import Segmenter
    from samtailor.train.checkpoint import State


@dataclass(frozen=True)
class FitResult:
    """What a fit leaves.

    Args:
        folder: the artefact; with `per_class` the folder of all of them.
        config: resolved.
        figures: "held_out_miou", "held_out_oracle_miou" and "best_step" of the exported state, "start_miou" and
            "start_oracle_miou" of the state before the first step (the base itself, for methods that start at it);
            empty without held-out images. With two levels also "selection": on what the state was chosen,
            "held-out" images or D2 ("paper").
        history: "train" and "held_out", lists of dicts with "step".
        parts: results by class, with `per_class`.
    """

    folder: Path
    config: FitConfig
    figures: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    parts: dict[str, FitResult] = field(default_factory=dict)


def export(
    out: Path,
    config: FitConfig,
    segmenter: Segmenter,
    state: State,
    *,
    classes: Sequence[str],
    figures: dict[str, Any],
) -> None:
    """History and adapter into the folder of the fit; its checkpoint goes."""
    from samtailor.data.image import write_json

    meta = artefact.describe(
        segmenter,
        method=config.method,
        options=config.options,
        classes=classes,
        figures=figures,
        seed=config.seed,
        steps=state.step,
        split=artefact.SPLIT,
    )
    write_json(out / HISTORY, state.history)
    artefact.save(out, segmenter, meta)
    (out / CHECKPOINT).unlink(missing_ok=True)


def finished(config: FitConfig, out: Path) -> FitResult:
    """Of a fit that had come to its end before."""
    meta = artefact.read_meta(out)
    return FitResult(out, config, meta.figures, json.loads((out / HISTORY).read_text(encoding="utf-8")))


def figures_of(state: State) -> dict[str, Any]:
    """As `FitResult.figures` has them, of the state that is exported."""
    held_out = state.history["held_out"]
    if not held_out:
        return {}
    first, best = held_out[0], next(entry for entry in held_out if entry["step"] == state.best_step)
    regions = {"held_out_region_miou": best["region_miou"]} if "region_miou" in best else {}
    return regions | {
        "held_out_miou": best["miou"],
        "held_out_oracle_miou": best["oracle_miou"],
        "best_step": best["step"],
        "start_miou": first["miou"],
        "start_oracle_miou": first["oracle_miou"],
    }


__all__ = ["FitResult", "export", "figures_of", "finished"]
