"""`samed`: SAMed (Zhang and Liu, arXiv 2304.13785): LoRA on q and v of every block of the image encoder, the whole mask
decoder trained, no prompt. The encoder changes, so embeddings cannot be cached: every step and every prediction runs
it.

3,925,410 parameters are trained on SAM ViT-B with one class. The reference counts 3,931,374: it also unfreezes the
remainder of the prompt encoder (5,964), which gets no gradient without prompts.

A convolutional encoder, as of the bundled base, has no q and v: its 1x1 convolutions are adapted instead.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from samtailor.adapters.decoder_tail import DecoderCopy, DecoderTail, Region
from samtailor.adapters.learnt_prompt import DensePrompt
from samtailor.adapters.lora import LoRA
from samtailor.bases import Base
from samtailor.registry import refuse_unknown
from samtailor.segmenter import Segmenter
from samtailor.structures import InferenceSpec
from samtailor.train.joint import Joint
from samtailor.train.losses import region_loss

TITLE = "SAMed"
PROMPT = "none"
"""Prompt source in training and use."""
REGIONS = True
"""It predicts one region per image and class."""
# the reference uses batches of 12 per GPU and a warm-up of 250 steps, longer than a fit with few shots
DEFAULTS: dict[str, Any] = {
    "prompt": PROMPT,
    "epochs": 200,
    "batch_size": 4,
    "lr": 5e-3,
    "weight_decay": 0.1,
    "schedule": "poly",
    "warmup": 20,
}


def build(
    base: Base,
    *,
    rank: int = 4,
    start: str = "sam",
    iou: str = "trained",
    dice_weight: float = 0.8,
    per_mask: bool = False,
    **unknown: Any,
) -> tuple[Segmenter, partial[Joint]]:
    """SAMed.

    Args:
        base: frozen base.
        rank: rank of the LoRA.
        start: initialization of the two mask channels, "sam" or "random" (see `DecoderTail`).
        iou: the IoU head is "trained", or "idle".
        dice_weight: lambda of the loss, by default 0.2 CE + 0.8 Dice.
        per_mask: compute Dice per mask instead of over the batch.
        **unknown: any other option is an InputError.
    """
    refuse_unknown(build, unknown)
    known = ("encoder.qkv", "encoder.qv", "encoder.pointwise")
    site = next((site for site in known if site in base.sites), known[-1])
    inside = {
        "lora": LoRA(base, site, rank=rank),
        "transformer": DecoderCopy(base),
        "tail": DecoderTail(base, start=start, iou=iou),
    }
    segmenter = Segmenter(
        base,
        inside=inside,
        tokens={"dense": DensePrompt(base)},
        outputs={"region": Region(iou)},
        encoder_frozen=False,
        inference=InferenceSpec(regions=REGIONS),
    )
    step = partial(
        Joint,
        objective=region_loss,
        dice_weight=dice_weight,
        per_mask=per_mask,
        iou_weight=float(iou == "trained"),
    )
    return segmenter, step
