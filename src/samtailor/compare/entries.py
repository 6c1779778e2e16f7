"""Rows of a comparison: a method around the frozen base, or a baseline, with one interface for both.

A row is a `FitConfig` whose `method` is a file of `samtailor.methods` or of `compare.baselines`. Of its settings a
baseline uses options, steps, epochs, seed and classes; its learning rate is one of its options.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samtailor import artefact
from samtailor.compare import baselines
from samtailor.compare.baselines._artefact import METADATA as BASELINE
from samtailor.compare.baselines._artefact import read_meta as read_baseline
from samtailor.errors import InputError
from samtailor.registry import find, names
from samtailor.train.config import FitConfig, resolve

if TYPE_CHECKING:
    from samtailor.bases import Base

KINDS = ("methods", "baselines")


@dataclass(frozen=True)
class Entry:
    """One row, checked before anything is fitted.

    Args:
        config: settings of the fit; resolved for a method.
        kind: "methods" or "baselines".
        learns: number of trained parameters; with 0 nothing is fitted.
        encoder_cached: whether the fit runs on cached embeddings.
        regions: it predicts one region per image and class.
        weights: initial weights of the backbone of a baseline; None for a method.
    """

    config: FitConfig
    kind: str
    learns: int
    encoder_cached: bool
    regions: bool
    weights: str | None = None

    @property
    def folder(self) -> Path | None:
        """Folder of the fit; None if nothing is fitted."""
        return self.config.out if self.learns else None

    @property
    def output(self) -> Path:
        """Folder of the fit.

        Raises:
            InputError: nothing is fitted, or the settings name no folder.
        """
        if self.folder is None:
            raise InputError(f"{self.config.method} has no folder: it has no trained parameters, or out is not set.")
        return self.folder

    @property
    def finished(self) -> bool:
        """Whether the fit is complete."""
        end = artefact.METADATA if self.kind == "methods" else BASELINE
        return self.folder is not None and (self.folder / end).exists()

    @property
    def kept_step(self) -> int | None:
        """Step of the state that the finished fit kept; None if no validation selected it."""
        meta = artefact.read_meta(self.output) if self.kind == "methods" else read_baseline(self.output)
        figures = meta.figures
        return figures["best_step"] if figures.get("held_out_miou") is not None else None


def kind_of(name: str) -> str:
    """ "methods" or "baselines", by the name of a row.

    Raises:
        InputError: neither a method nor a baseline.
    """
    wanted = name.strip().lower().replace("_", "-")
    known = {known: kind for kind in KINDS for known in names(kind)}
    if wanted not in known:
        close = difflib.get_close_matches(wanted, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        lists = "; ".join(f"{kind} {', '.join(names(kind))}" for kind in KINDS)
        raise InputError(f"There is no method and no baseline {name!r}. Known: {lists}.{hint}")
    return known[wanted]


def title_of(name: str) -> str:
    """Name of a method or baseline in tables: the `TITLE` of its file, else its own name.

    Raises:
        InputError: neither a method nor a baseline.
    """
    return getattr(find(kind_of(name), name), "TITLE", name)


def make_entry(config: FitConfig, base: Base, classes: Sequence[str]) -> Entry:
    """Build a row once, so that a mistake in its settings is reported before hours of fits.

    Args:
        config: settings of the fit.
        base: base model.
        classes: classes of one fit.

    Raises:
        InputError: an unknown name or option, or several classes for a method with one output.
        BaseUnavailableError: the weights of a baseline cannot be loaded.
    """
    if kind_of(config.method) == "baselines":
        baseline = build_baseline(config, classes)
        return Entry(config, "baselines", baseline.parameters_by_use()["trained"], False, True, baseline.weights)
    config, module = resolve(config), find("methods", config.method)
    segmenter = module.build(base, **config.options)[0]
    learns = sum(p.numel() for group in segmenter.groups.values() for p in group)
    if not segmenter.tunes_inference:  # published methods are measured as they are
        config = config.model_copy(update={"fallback": False})
    regions = getattr(module, "REGIONS", False)
    if regions and len(classes) > 1:
        raise InputError(
            f"{config.method} segments one class, and the data have {', '.join(classes)}. "
            "Choose one with classes (--classes), or fit one adapter per class with per_class (--per-class)."
        )
    if learns:
        find("prompts", config.prompt).build(**config.prompt_options)
    return Entry(config, "methods", learns, segmenter.encoder_frozen, regions)


def build_baseline(config: FitConfig, classes: Sequence[str]) -> baselines.Baseline:
    """The baseline of a row, with its options and seed."""
    options = {"seed": config.seed} | config.options
    return find("baselines", config.method).build(len(classes), **options)


__all__ = ["KINDS", "Entry", "build_baseline", "kind_of", "make_entry", "title_of"]
