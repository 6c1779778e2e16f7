"""`plm-pmm`: SAM+PLM+PMM (Kim et al., arXiv 2403.09199, sections 4.1 to 4.3): the prompt learning module trained with
a point matching module, L = L_seg + lambda L_pm. At test only the PLM is used."""

from __future__ import annotations

from functools import partial
from typing import Any

from samtailor.adapters.plm import PLM
from samtailor.adapters.pmm import PMM
from samtailor.bases import Base
from samtailor.methods.plm import DEFAULTS
from samtailor.registry import choose, refuse_unknown
from samtailor.segmenter import Segmenter
from samtailor.train.joint import Joint
from samtailor.train.losses import MATCHING
from samtailor.train.matching import matching_loss

__all__ = ["DEFAULTS", "STARTS_AT_BASE", "TITLE", "build"]
TITLE = "SAM+PLM+PMM"
STARTS_AT_BASE = True


def build(
    base: Base,
    *,
    head: str = "zero_linear",
    heads: int = 8,
    mlp_dim: int = 2048,
    form: str = "sound",
    shape_code: bool = True,
    points: int = 64,
    matching: str = "index",
    matching_weight: float = 1.0,
    supervise: str = "all",
    multimask_dice_weight: float = 0.5,
    focal_weight: float = 20.0,
    **unknown: Any,
) -> tuple[Segmenter, partial[Joint]]:
    """SAM+PLM+PMM. As in the paper: head="paper_plain", form="reference", matching="paper", multimask_dice_weight=0.

    Args:
        base: frozen base.
        head, heads, mlp_dim: options of the PLM (see `PLM`).
        form, shape_code, points: options of the PMM (see `PMM`); a batch has contours of a multiple of `points` points.
        matching: "index", "cyclic", "symmetric" or "paper" (Eq. 4), see `losses.contour_matching`.
        matching_weight: lambda of the paper; L_pm is in cells of the image embedding.
        supervise, multimask_dice_weight, focal_weight: see `losses.segmentation_loss`.
        **unknown: any other option is an InputError.
    """
    refuse_unknown(build, unknown)
    choose("matching", matching, MATCHING)
    plm = PLM(base.dim, heads=heads, mlp_dim=mlp_dim, head=head)
    pmm = PMM(base.dim, points=points, form=form, shape_code=shape_code)
    terms = {"matching": (matching_weight, partial(matching_loss, pmm, kind=matching))}
    segmenter = Segmenter(base, tokens={"plm": plm}, training_only={"pmm": pmm}, contour_points=points)
    return segmenter, partial(
        Joint, terms=terms, supervise=supervise, multimask_dice_weight=multimask_dice_weight, focal_weight=focal_weight
    )
