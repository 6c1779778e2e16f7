"""`tailor`: the method of this project, the default of `fit`. A map of the class on the frozen embedding (`RegionMap`)
predicts without a prompt. For a click, a prompt learning module (Kim et al., arXiv 2403.09199) and the map are
combined. Both learn jointly from the same masks, on augmented views. See `docs/research/tailor.md` for the experiments.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from samtailor.adapters.plm import PLM
from samtailor.adapters.pyramid import DEPTHWISE, FULL
from samtailor.adapters.region_map import RegionMap
from samtailor.bases import Base
from samtailor.bases.companions import AUTO, NONE, load_companion
from samtailor.registry import choose, refuse_unknown
from samtailor.segmenter import Segmenter
from samtailor.train.multitask import MultiTask, RegionTask

BOTH, REGION = TASKS = ("both", "region")
TITLE = "tailor"
STARTS_AT_BASE = True
DEFAULTS: dict[str, Any] = {
    # `build` alone rebuilds adapters of earlier versions
    "options": {"convolutions": DEPTHWISE, "member_batch": 2, "companion": AUTO},
    "steps": 300,
    "batch_size": 4,
    "views": 8,
    "lr": {"prompt": 1e-3, "map": 2e-3},
    "max_grad_norm": {
        "prompt": 1.0,
        "map": 0.0,
    },  # without clipping, one batch of crowded images can drive all clicks to empty masks
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
    convolutions: str = FULL,
    member_batch: int | None = None,
    companion: str = NONE,
    linear: bool = False,
    select_inference: bool = True,
    heads: int = 8,
    mlp_dim: int = 2048,
    multimask_dice_weight: float = 0.5,
    focal_weight: float = 20.0,
    task: str = BOTH,
    **unknown: Any,
) -> tuple[Segmenter, partial[MultiTask] | type[RegionTask]]:
    """tailor. For every prompt it starts exactly at SAM; without a prompt it starts from an untrained map.

    Args:
        base: frozen base.
        members, width, dropout, convolutions, member_batch: options of the map (see `RegionMap`). A fit sets the last
            two and `companion` by `DEFAULTS`; the defaults here are those of adapters that do not name them (0.1 and
            0.2).
        companion: frozen network whose features the map reads beside the base's: none, bundled, auto (bundled if the
            base's encoder contains it, as that of the bundled base does), or a DINOv2 or DINOv3 by hub id or folder
            (see `bases.companions`). Encoded once per image, and kept in the same cache.
        linear: the map is the mean of the networks and of a linear discriminant in closed form, see `RegionMap`;
            `members=0` leaves the networks out.
        select_inference: after training, select the strength of the click adapter (`fitting.interpolate`) and tiled
            inference (`fitting.select_inference`) on held-out images. Without any, each member of the map leaves
            some training images out for that.
        heads, mlp_dim: options of the prompt learning module (see `PLM`).
        multimask_dice_weight, focal_weight: options of the loss of prompted objects (see `losses.segmentation_loss`).
        task: what is trained: "both", or "region" for the map alone, which leaves clicks and boxes to the base.
        **unknown: any other option is an InputError.
    """
    refuse_unknown(build, unknown)
    choose("task", task, TASKS)
    plm = PLM(base.dim, heads=heads, mlp_dim=mlp_dim)
    beside = load_companion(companion, next(base.model.parameters()).device, base)
    region_map = RegionMap(
        base,
        members=members,
        width=width,
        dropout=dropout,
        companion=beside,
        convolutions=convolutions,
        member_batch=member_batch,
        linear=linear,
    )
    groups = {"prompt": ["plm"], "map": ["map"]} if task == BOTH else {"map": ["map"]} if members else {}
    if task == REGION:
        plm.requires_grad_(False)
        region_map.map_gain.requires_grad_(False)
    segmenter = Segmenter(
        base,
        tokens={"plm": plm},
        maps={"map": region_map},
        groups=groups,
        tunes_inference=select_inference,
        companion=beside,
    )
    if task == REGION:
        return segmenter, RegionTask
    return segmenter, partial(MultiTask, multimask_dice_weight=multimask_dice_weight, focal_weight=focal_weight)
