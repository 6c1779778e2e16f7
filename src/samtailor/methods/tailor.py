"""`tailor`: this project's own method, the default of `fit`. A map of the class on the frozen embedding (`RegionMap`)
answers without a prompt; a prompt learning module (Kim et al., arXiv 2403.09199) and the map together make the answer
to a click. Both learn at once from the same masks, on augmented views. `docs/tailor.md` has what was tried.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from samtailor.adapters.plm import PLM
from samtailor.adapters.region_map import RegionMap
from samtailor.bases import Base
from samtailor.registry import refuse_unknown
from samtailor.segmenter import Segmenter
from samtailor.train.multitask import MultiTask

DEFAULTS: dict[str, Any] = {
    "steps": 300,
    "batch_size": 4,
    "views": 8,
    "lr": {"prompt": 1e-3, "map": 2e-3},
    "max_grad_norm": {"prompt": 1.0, "map": 0.0},  # of crowded images one batch can push all clicks to empty masks
    "weight_decay": 0.1,
    "schedule": "cosine",
    "warmup": 20,
}


def build(
    base: Base,
    *,
    members: int = 4,
    width: int = 96,
    dropout: float = 0.3,
    select_inference: bool = True,
    heads: int = 8,
    mlp_dim: int = 2048,
    multimask_dice_weight: float = 0.5,
    focal_weight: float = 20.0,
    **unknown: Any,
) -> tuple[Segmenter, partial[MultiTask]]:
    """tailor. Starts at exactly SAM for every prompt; without a prompt it has nothing to start from.

    Args:
        base: frozen base.
        members, width, dropout: of the map (see `RegionMap`).
        select_inference: the fit chooses, on images that are new to whoever answers, how far clicks go from the base
            (`fitting.interpolate`) and tiled inference (`fitting.select_inference`). Without held-out images
            some of the training images are left out for that, turn by turn.
        heads, mlp_dim: of the prompt learning module (see `PLM`).
        multimask_dice_weight, focal_weight: of the loss of prompted objects (see `losses.segmentation_loss`).
        **unknown: refused with an InputError.
    """
    refuse_unknown(build, unknown)
    plm = PLM(base.dim, heads=heads, mlp_dim=mlp_dim)
    found = RegionMap(base, members=members, width=width, dropout=dropout)
    groups = {"prompt": ["plm"], "map": ["map"]}
    segmenter = Segmenter(
        base, tokens={"plm": plm}, maps={"map": found}, groups=groups, tunes_inference=select_inference
    )
    return segmenter, partial(MultiTask, multimask_dice_weight=multimask_dice_weight, focal_weight=focal_weight)
