"""`blo-sam`: BLO-SAM (Zhang et al., arXiv 2402.16338): few-shot segmentation of one region without prompts. The
LoRA and the output layers of the decoder (W) learn on one half of the shots, the dense default prompt (A) on the other.

Not adopted from the reference code: the upper level used only the first D2 image; no shuffling; the upper learning
rate was overwritten; beta_1 was 0.95; file order selected the shots; images were not normalized; Dice on a grid.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from samtailor.adapters.calibration import Scaled
from samtailor.adapters.decoder_tail import DecoderTail, Region
from samtailor.adapters.learnt_prompt import DensePrompt, SparsePrompt
from samtailor.adapters.lora import LoRA
from samtailor.bases import Base
from samtailor.registry import choose, refuse_unknown
from samtailor.segmenter import Segmenter
from samtailor.structures import InferenceSpec
from samtailor.train.bilevel import Bilevel
from samtailor.train.losses import region_loss

TITLE = "BLO-SAM"
PROMPT = "none"
"""Prompt source in training and use."""
REGIONS = True
"""It predicts one region per image and class."""
DEFAULTS: dict[str, Any] = {
    "prompt": PROMPT,
    "epochs": 100,
    "batch_size": 1,
    "lr": {"lower": 5e-3, "upper": 5e-3},
    "weight_decay": 0.1,
    "schedule": "poly",
    "warmup": 0,
}
UPPER = ("dense", "sparse", "both")


def build(
    base: Base,
    *,
    upper: str = "dense",
    rank: int = 4,
    start: str = "sam",
    prompt_start: str = "sam",
    iou: str = "trained",
    dice_weight: float = 0.8,
    per_mask: bool = False,
    logit_scale: float = 1.0,
    hypergradient: str = "first-order",
    limit: float | None = 1.0,
    **unknown: Any,
) -> tuple[Segmenter, partial[Bilevel]]:
    """BLO-SAM. Lower level 509,986 parameters at width 256 (377,888 with iou="idle"), upper level 256.

    Args:
        base: frozen base.
        upper: parameters of the upper level: the "dense" default prompt (the paper), "sparse" tokens, or "both".
        rank: rank of the LoRA on q and v of the decoder.
        start: initialization of the channels: "sam", or "random" as in the reference code (see `DecoderTail`).
        prompt_start: initialization of the dense prompt: "sam", or "random" (see `DensePrompt`).
        iou: the IoU head is "trained", or "idle" (see `DecoderTail`).
        dice_weight: lambda of the loss.
        per_mask: compute Dice per mask instead of over the batch.
        logit_scale: factor on the logits; 0.709375 is the control experiment for the calibration of AM-SAM.
        hypergradient: "first-order" or "unrolled" (see `Bilevel`).
        limit: largest norm of the second term of the unrolled gradient, relative to the first; None: no limit.
        **unknown: any other option is an InputError.
    """
    refuse_unknown(build, unknown)
    choose("upper", upper, UPPER)
    prompts: dict[str, nn.Module] = {"dense": DensePrompt(base, prompt_start)} if upper != "sparse" else {}
    prompts |= {"sparse": SparsePrompt(base)} if upper != "dense" else {}
    inside, outputs = lower_level(base, rank=rank, start=start, iou=iou)
    scaled = {"scale": Scaled(logit_scale)} if logit_scale != 1 else {}
    segmenter = Segmenter(
        base,
        inside=inside,
        tokens=prompts,
        outputs=scaled | outputs,
        groups={"lower": list(inside), "upper": list(prompts)},
        inference=InferenceSpec(regions=REGIONS),
    )
    return segmenter, bilevel(iou, dice_weight, per_mask, hypergradient, limit)


def lower_level(base: Base, *, rank: int, start: str, iou: str) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """Adapters inside the base (LoRA, trained output layers of the decoder), and the one that joins two channels."""
    inside = {"lora": LoRA(base, "decoder.qv", rank=rank), "tail": DecoderTail(base, start=start, iou=iou)}
    return inside, {"region": Region(iou)}


def bilevel(
    iou: str, dice_weight: float, per_mask: bool, hypergradient: str, limit: float | None = 1.0
) -> partial[Bilevel]:
    """The step with the loss of BLO-SAM and AM-SAM."""
    return partial(
        Bilevel,
        objective=region_loss,
        hypergradient=hypergradient,
        limit=limit,
        dice_weight=dice_weight,
        per_mask=per_mask,
        iou_weight=float(iou == "trained"),
    )
