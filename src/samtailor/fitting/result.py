"""The result of a fit: adapter, history, and the figures of the exported state."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.fitting.folder import CHECKPOINT, HISTORY, SNAPSHOTS
from samtailor.structures import Account, InferenceSpec
from samtailor.structures.notebook import table_html
from samtailor.train.config import FitConfig

if TYPE_CHECKING:
    from samtailor.segmenter import Segmenter
    from samtailor.train.checkpoint import State
    from samtailor.train.validate import Validation


@dataclass(frozen=True)
class FitResult:
    """The result of a fit.

    Args:
        folder: folder of the adapter; with `per_class` the folder that holds one folder per class.
        config: resolved settings.
        figures: measurements on validation images, which also select the best state, all in [0, 1].

            * "held_out_miou", "held_out_oracle_miou", "best_step": of the exported state; "start_miou",
              "start_oracle_miou": of the state before the first step (the base model, for methods that start at it).
            * "held_out_images", "held_out_masks": number of images and masks behind them; "held_out_interval" and
              "held_out_gain_interval": 95 % intervals [low, high] of the mIoU and of its paired difference to the
              start, where at least two images were held out.
            * "selection": data that selected the state of a bi-level fit, "held-out" images or "paper" (D2).
            * "alpha": strength for clicks, see `fitting.interpolate`.
            * "comparison": the comparison with the base model and with the adapter in use, see `gate`.
            * "region_dice", "region_dice_untiled", "region_images", "region_objects", "region_interval": see
              `fitting.select_inference`.
        history: "train" (mean losses) and "held_out" (validations), lists of dicts with "step".
        parts: results by class, with `per_class`.
        inference: how the adapter is prompted and tiled.
        kept: folder of the adapter that stays in use, since the new one is not better; None if the new one is used.
        account: images and annotations in the data set, those that were read and those left out; None for samples in
            memory and for a fit that was finished earlier.
    """

    folder: Path
    config: FitConfig
    figures: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    parts: dict[str, FitResult] = field(default_factory=dict)
    inference: InferenceSpec = field(default_factory=InferenceSpec)
    account: Account | None = None
    kept: Path | None = None

    def __repr__(self) -> str:
        """Folder, method and held-out scores in percent."""
        rows = "; ".join(f"{name} {value}" for name, value in self._rows())
        return f"FitResult({self.config.method}, {self.folder}: {rows or 'no held-out images'})"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = [["folder", str(self.folder)], ["method", self.config.method], *self._rows()]
        return table_html(["", ""], rows, "Fitted adapter")

    def _rows(self) -> list[list[str]]:
        """Held-out scores before and after the fit, by class with several parts."""
        rows = []
        for name, part in (self.parts or {"": self}).items():
            before, after = part.figures.get("start_miou"), part.figures.get("held_out_miou")
            if before is not None and after is not None:
                rows.append([f"{name} held-out mIoU".strip(), f"{100 * before:.1f} -> {100 * after:.1f} %"])
        return rows


def export(
    out: Path,
    config: FitConfig,
    segmenter: Segmenter,
    state: State,
    *,
    classes: Sequence[str],
    figures: dict[str, Any],
) -> None:
    """Write history and adapter into the folder of the fit and remove the checkpoint."""
    from samtailor.data.image import write_json

    meta = artefact.describe(
        segmenter,
        method=config.method,
        options=config.options,
        classes=classes,
        data=artefact.reference(config.data, config.format, config.data_options),
        figures=figures,
        seed=config.seed,
        steps=state.step,
        split=artefact.SPLIT,
    )
    write_json(out / HISTORY, state.history)
    artefact.save(out, segmenter, meta)
    (out / CHECKPOINT).unlink(missing_ok=True)


def snapshot(
    out: Path, epoch: float, config: FitConfig, segmenter: Segmenter, step: int, *, classes: Sequence[str]
) -> None:
    """Write the present state as an adapter into OUT/snapshots/epoch-N."""
    training = segmenter.training
    meta = artefact.describe(
        segmenter.eval(),
        method=config.method,
        options=config.options,
        classes=classes,
        data=artefact.reference(config.data, config.format, config.data_options),
        figures={"epoch": epoch},
        seed=config.seed,
        steps=step,
        split=None,
    )
    artefact.save(out / SNAPSHOTS / f"epoch-{epoch:g}", segmenter, meta)
    segmenter.train(training)


def finished(config: FitConfig, out: Path) -> FitResult:
    """Result of a fit that finished earlier."""
    meta = artefact.read_meta(out)
    history = json.loads((out / HISTORY).read_text(encoding="utf-8"))
    return FitResult(out, config, meta.figures, history, inference=meta.inference)


def figures_of(state: State) -> dict[str, Any]:
    """The part of `FitResult.figures` about the exported state."""
    held_out = state.history["held_out"]
    if not held_out:
        return {}
    first, best = held_out[0], next(entry for entry in held_out if entry["step"] == state.best_step)
    regions = {"held_out_region_miou": best["region_miou"]} if "region_miou" in best else {}
    return {
        **regions,
        "held_out_miou": best["miou"],
        "held_out_oracle_miou": best["oracle_miou"],
        "best_step": best["step"],
        "start_miou": first["miou"],
        "start_oracle_miou": first["oracle_miou"],
        **(counts(state.best_validation, state.start_validation) if state.best_validation is not None else {}),
    }


def counts(validation: Validation, before: Validation | None) -> dict[str, Any]:
    """Number of images and masks of a validation, and its intervals where there are any."""
    figures: dict[str, Any] = {"held_out_images": validation.n_images, "held_out_masks": len(validation.ious)}
    gain = validation.gain_interval(before) if before is not None else None
    for name, interval in (("held_out_interval", validation.interval()), ("held_out_gain_interval", gain)):
        if interval is not None:
            figures[name] = interval
    return figures


__all__ = ["FitResult", "counts", "export", "figures_of", "finished", "snapshot"]
