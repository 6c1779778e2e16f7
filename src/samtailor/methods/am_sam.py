"""`am-sam`: AM-SAM (Li et al., arXiv 2410.09714): BLO-SAM with a box prompt from a frozen detector and a calibration of
the mask logits. No code was published. Where the text is ambiguous, the option `reading` selects an interpretation:

* "R1" (default): the box of the image as sparse prompt, in training and at test; the upper level learns the dense
  prompt.
* "R2": R1, and a shared offset of the two box tokens in the upper level.
* "R3": the box is only the initial value (mean over the training images) of a learnt sparse prompt; no box at test.
* "R4": the box drawn as a mask prompt, plus the learnt dense prompt.
* "R5": the box in early training only (with a probability that falls to 0 half-way); no box at test.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from samtailor.adapters.calibration import Calibration
from samtailor.adapters.learnt_prompt import DensePrompt, FadingPrompt, SparseOffset, SparsePrompt, box_as_mask
from samtailor.bases import Base
from samtailor.methods import blo_sam
from samtailor.methods.blo_sam import UPPER, bilevel, lower_level
from samtailor.registry import choose, refuse_unknown
from samtailor.segmenter import Segmenter
from samtailor.structures import InferenceSpec
from samtailor.train.bilevel import Bilevel

TITLE = "AM-SAM"
PROMPT = "detector"
"""Prompt source in training and use (in use none for the readings R3 and R5)."""
REGIONS = True
"""It predicts one region per image and class."""
DEFAULTS: dict[str, Any] = blo_sam.DEFAULTS | {"prompt": PROMPT, "lr": {"lower": 5e-3, "upper": 1e-3}}
READINGS = ("R1", "R2", "R3", "R4", "R5")
_LEARNS = {"R1": "dense", "R2": "both", "R3": "both", "R4": "dense", "R5": "dense"}


def build(
    base: Base,
    *,
    reading: str = "R1",
    upper: str | None = None,
    calibration: str = "per_sample",
    alpha: float = 0.7,
    rank: int = 4,
    start: str = "sam",
    prompt_start: str = "sam",
    iou: str = "trained",
    dice_weight: float = 0.8,
    per_mask: bool = False,
    hypergradient: str = "first-order",
    limit: float | None = 1.0,
    **unknown: Any,
) -> tuple[Segmenter, partial[Bilevel]]:
    """AM-SAM.

    Args:
        base: frozen base.
        reading: interpretation of the role of the box, "R1" to "R5" (above).
        upper: parameters of the upper level: "dense", "sparse" or "both"; None: those of the reading. Sparse is the
            offset of the box tokens, in reading R3 the tokens themselves.
        calibration: "per_sample", "paper_batch", "channel_weights", "nonlinear" or "none" (see `Calibration`).
        alpha: strength of the calibration.
        rank, start, prompt_start, iou, dice_weight, per_mask, hypergradient, limit: as in `blo-sam`.
        **unknown: any other option is an InputError.
    """
    refuse_unknown(build, unknown)
    learns = choose("upper", upper or _LEARNS[choose("reading", reading, READINGS)], UPPER)
    inside, outputs = lower_level(base, rank=rank, start=start, iou=iou)
    channels = getattr(base, "mask_channels", base.dim // 8)  # SAM-HQ has twice as many
    calibrated = {"calibration": Calibration(calibration, channels=channels, alpha=alpha)}
    sparse = SparsePrompt(base) if reading == "R3" else SparseOffset(base.dim)
    prompts: dict[str, nn.Module] = {"dense": DensePrompt(base, prompt_start)} if learns != "sparse" else {}
    prompts |= {"sparse": sparse} if learns != "dense" or reading == "R3" else {}
    fading = FadingPrompt()
    segmenter = Segmenter(
        base,
        inside=inside,
        tokens=prompts | ({"fading": fading} if reading == "R5" else {}),
        outputs=calibrated | outputs,
        groups={"lower": [*inside, *calibrated], "upper": _learning(prompts, learns)},
        inference=InferenceSpec(prompt="none" if reading in ("R3", "R5") else None, regions=REGIONS),
        transform_prompts=partial(box_as_mask, side=4 * base.grid) if reading == "R4" else None,
        on_start=sparse.begin if isinstance(sparse, SparsePrompt) else None,
        on_step=fading.at if reading == "R5" else None,
    )
    return segmenter, bilevel(iou, dice_weight, per_mask, hypergradient, limit)


def _learning(prompts: dict[str, nn.Module], learns: str) -> list[str]:
    """Names of the prompts of the upper level; a sparse prompt that keeps its initial value is frozen."""
    for name, prompt in prompts.items():
        prompt.requires_grad_(learns in (name, "both"))
    return [name for name in prompts if learns in (name, "both")]
