"""One adapter out of the fits that a contest has chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtailor import artefact
from samtailor.errors import ArtefactError
from samtailor.fitting.contest.prompt_variant import PromptVariant, applied
from samtailor.fitting.folder import HISTORY
from samtailor.structures import InferenceSpec, TilingPlan
from samtailor.train.config import FitConfig

if TYPE_CHECKING:
    from samtailor.bases import Base
    from samtailor.segmenter import Segmenter

_OF_TRAINING = ("task",)
"""Options that matter in training only."""


def assembled(
    base: Base,
    region: Path | None,
    prompt: Path | None,
    *,
    variants: Mapping[str, PromptVariant],
    tiling: TilingPlan,
    offset: float = 0.0,
) -> tuple[Segmenter, artefact.AdapterMeta]:
    """The segmenter of two fits, and the metadata of the first.

    Args:
        base: of both.
        region: folder of a fit with a region map; None for none.
        prompt: folder of a fit with a prompt learning module; None for none.
        variants: how clicks and boxes are answered.
        tiling: of the region map.
        offset: is added to the logits of the region map.

    Raises:
        ArtefactError: neither is given.
    """
    first = region or prompt
    if first is None:
        raise ArtefactError("A contest without a fit has no adapter.")
    loaded = artefact.load(first, base)
    segmenter = loaded.segmenter
    if region is not None and prompt is not None:
        plm = artefact.load(prompt, base).segmenter.adapter("plm")
        segmenter.adapter("plm").load_state_dict(plm.state_dict())
    if region is not None and offset:
        region_map: Any = segmenter.adapter("map")
        region_map.add_offset(offset)
    segmenter.inference = applied(replace(segmenter.inference, tiling=tiling), variants)
    return segmenter, loaded.meta


def publish(
    out: Path,
    config: FitConfig,
    segmenter: Segmenter,
    meta: artefact.AdapterMeta,
    *,
    classes: Sequence[str],
    steps: int,
    figures: Mapping[str, Any],
    history: Mapping[str, Any],
) -> InferenceSpec:
    """Write the adapter into the folder of the contest; an earlier one is replaced."""
    from samtailor.data.image import write_json

    described = artefact.describe(
        segmenter.eval(),
        method=meta.method,
        options={name: value for name, value in meta.options.items() if name not in _OF_TRAINING},
        classes=classes,
        data=artefact.reference(config.data, config.format, config.data_options),
        figures=dict(figures),
        seed=config.seed,
        steps=steps,
        split=artefact.SPLIT,
    )
    write_json(out / HISTORY, dict(history))
    artefact.save(out, segmenter, described)
    return segmenter.inference


__all__ = ["assembled", "publish"]
