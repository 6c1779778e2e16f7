"""`plm`: SAM+PLM (Kim et al., arXiv 2403.09199, section 4.1): a prompt learning module between the two encoders and the
mask decoder. The paper trains one per part or object class."""

from __future__ import annotations

from functools import partial
from typing import Any

from samtailor.adapters.plm import PLM
from samtailor.bases import Base
from samtailor.registry import refuse_unknown
from samtailor.segmenter import Segmenter
from samtailor.train.joint import Joint

TITLE = "SAM+PLM"
STARTS_AT_BASE = True
# takes minutes on cached embeddings; the settings of the paper (20,000 steps at lr 1e-5) are the recipe "paper"
DEFAULTS: dict[str, Any] = {
    "steps": 1000,
    "batch_size": 8,
    "lr": 1e-3,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "schedule": "cosine",
    "warmup": 50,
    "views": 8,
}


def build(
    base: Base,
    *,
    head: str = "zero_linear",
    heads: int = 8,
    mlp_dim: int = 2048,
    supervise: str = "all",
    multimask_dice_weight: float = 0.5,
    focal_weight: float = 20.0,
    **unknown: Any,
) -> tuple[Segmenter, partial[Joint]]:
    """SAM+PLM.

    Args:
        base: frozen base.
        head: "zero_linear" (starts exactly at the base) or "paper_plain" (the architecture of the paper, see `PLM`).
        heads, mlp_dim: size of the module.
        supervise: candidates that the IoU head learns from, "all" or "best" (see `losses.segmentation_loss`).
        multimask_dice_weight: weight of the mean Dice loss of all three masks, added to the loss of the best mask; 0 is
            the minimum of the paper (and of SAM).
        focal_weight: weight of focal relative to dice, 20 in the paper.
        **unknown: any other option is an InputError.
    """
    refuse_unknown(build, unknown)
    segmenter = Segmenter(base, tokens={"plm": PLM(base.dim, heads=heads, mlp_dim=mlp_dim, head=head)})
    return segmenter, partial(
        Joint, supervise=supervise, multimask_dice_weight=multimask_dice_weight, focal_weight=focal_weight
    )
