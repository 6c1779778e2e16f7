"""Adapters on classes that they were not fitted to, and parameter counts (Kim et al., Fig. 6 and Table 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from samtailor.bases import Base
from samtailor.evaluation.masks import evaluate_many
from samtailor.registry import find
from samtailor.segmenter import Segmenter
from samtailor.structures import Sample

if TYPE_CHECKING:
    from samtailor.cache.embeddings import EmbeddingCache


def cross_model(
    base: Base,
    adapters: Mapping[str, Segmenter],
    samples: Sequence[Sample],
    classes: Sequence[str],
    *,
    store: EmbeddingCache | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Evaluate adapters of single classes on all classes (Kim et al., Fig. 6).

    Args:
        base: base model, the first row.
        adapters: name (usually the class it was fitted to) to segmenter on `base`.
        samples: held-out images.
        classes: classes to evaluate on, the columns.
        store: cached embeddings.
        seed: seed of the clicks and of the bootstrap.

    Returns:
        `rows`, `columns`, `miou` [row][column] in [0, 1] with None where a class has no mask, and `summaries` by row.
    """
    segmenters: dict[str, Segmenter | Base] = {"SAM": base, **adapters}
    evaluations = evaluate_many(segmenters, samples, classes=classes, store=store, seed=seed)
    summaries = {name: evaluation.summary() for name, evaluation in evaluations.items()}
    table = [[s["classes"].get(c, {}).get("miou") for c in classes] for s in summaries.values()]
    return {"rows": list(evaluations), "columns": list(classes), "miou": table, "summaries": summaries}


def parameters(base: Base) -> dict[str, Any]:
    """Parameter counts of each part (Kim et al., Table 4), for any base.

    The Fourier matrix of positions is not counted: it is a buffer in the code of Meta and a parameter in transformers.

    Returns:
        `image_encoder`, `prompt_encoder`, `mask_decoder`, `base` (all of the base), `plm` and `plm_paper` (with and
        without the zero-initialized head), `pmm`, and for the variant of the paper `train` (PLM + PMM) and
        `inference` (PLM); `share` is PLM relative to the base.
    """
    model = base.model
    counts = {name: _count(getattr(model, name)) for name in ("vision_encoder", "prompt_encoder", "mask_decoder")}
    whole = _count(model)
    ours, paper = (find("methods", "plm-pmm").build(base, head=head)[0] for head in ("zero_linear", "paper_plain"))
    plm, pmm = _count(paper.adapter("plm")), _count(paper.adapter("pmm"))
    return {
        "image_encoder": counts["vision_encoder"],
        "prompt_encoder": counts["prompt_encoder"],
        "mask_decoder": counts["mask_decoder"],
        "base": whole,
        "plm": _count(ours.adapter("plm")),
        "plm_paper": plm,
        "pmm": pmm,
        "train": plm + pmm,
        "inference": plm,
        "share": plm / whole,
    }


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for name, p in module.named_parameters() if not name.endswith("positional_embedding"))


__all__ = ["cross_model", "parameters"]
