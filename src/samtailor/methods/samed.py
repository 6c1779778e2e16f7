"""`samed`: SAMed (Zhang and Liu, arXiv 2304.13785): LoRA on q and v of every block of the image encoder, the whole mask
decoder trained, no prompt. The encoder changes, so that no embedding can be cached: every step and every question runs
it.

3,925,410 parameters learn on SAM ViT-B with one class. The reference counts 3,931,374: it also frees the rest of the
prompt encoder (5,964), which without prompts gets no gradient.
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

PROMPT = "none"
"""The prompt source it is fitted and asked with."""
REGIONS = True
"""One region an image and class."""
# the reference: batches of 12 a GPU, a warm-up of 250 steps; a few shots would end before it does
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
        rank: of the LoRA.
        start: of the two mask channels, "sam" or "random" (see `DecoderTail`).
        iou: the IoU head is "trained" along, or "idle".
        dice_weight: 0.2 CE + 0.8 Dice.
        per_mask: Dice of each mask alone instead of the batch's sums.
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)
    inside = {
        "lora": LoRA(base, "encoder.qkv", rank=rank),
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
    loss = {"dice_weight": dice_weight, "per_mask": per_mask, "iou_weight": float(iou == "trained")}
    return segmenter, partial(Joint, objective=region_loss, **loss)
